/** The host over the wire: capacity, readiness, drain, reload and problems. JSON, camelCase, milliseconds. */
import { z } from 'zod';
import { DRAIN } from '../lib/limits/service-limits.ts';
import { ms, reasonSchema, stateSchema, time } from './common-schemas.ts';

const quota = z.object({
  name: z.string(),
  limit: z.number(),
  used: z.number(),
  holders: z.array(z.string()),
});

const livekit = z.object({
  configured: z.boolean(),
  reachable: z.boolean().nullable(),
  since: time.nullable(),
  error: z.string().nullable(),
});

/** `setAside`: new path of the last damaged database. null: there was none. */
const registry = z.object({
  writable: z.boolean(),
  error: z.string().nullable(),
  setAside: z.string().nullable(),
});

const drainSchema = z.object({
  since: time,
  by: z.string(),
  /** Time until curfew releases the remaining sessions. null: the drain has no bound. */
  leftMs: ms.nullable(),
  /** Number of sessions that have not ended. */
  open: z.number(),
});

export type DrainView = z.infer<typeof drainSchema>;

export const drainRequestSchema = z.strictObject({
  timeoutMs: z.number().int().min(0).max(DRAIN.maxMs).optional(),
});

export const capacitySchema = z.object({
  host: z.string(),
  /** False while stopping or draining. */
  accepting: z.boolean(),
  draining: drainSchema.nullable(),
  quotas: z.array(quota),
  queue: z.object({ length: z.number(), limit: z.number(), sessions: z.array(z.string()) }),
  sessions: z.record(stateSchema, z.number()),
  /** Sessions with a worker that survived SIGKILL. Each still holds its slot and claim. */
  unkillable: z.array(z.object({ session: z.string(), pid: z.number().nullable() })),
  /** Sessions with an ending that the mass-end budget holds. curfew checks them again at `until`. */
  held: z.array(z.object({ session: z.string(), reason: reasonSchema, until: time })),
  livekit,
  /** The registration with LiveKit's own dispatch, for each agent name. */
  jobs: z.array(
    z.object({
      agentName: z.string(),
      state: z.enum(['connecting', 'registered']),
      since: time,
      error: z.string().nullable(),
    }),
  ),
  /** Warm workers of each agent. */
  warm: z.array(
    z.object({
      agent: z.string(),
      wanted: z.number(),
      ready: z.number(),
      starting: z.number(),
      /** Crashes in a row. */
      crashes: z.number(),
      /** Reason of the last crash. */
      lastCrash: z.string().nullable(),
      /** Time left of the backoff after a crash. null: there is no backoff. */
      startsAgainInMs: ms.nullable(),
    }),
  ),
  registry,
});

export type CapacityView = z.infer<typeof capacitySchema>;

/** Needs no token, so it has no error texts and no paths. GET /v1/capacity has them. */
export const readySchema = z.object({
  ready: z.boolean(),
  accepting: z.boolean(),
  livekit: livekit.omit({ error: true }),
  registry: registry.pick({ writable: true }),
});

export type ReadyView = z.infer<typeof readySchema>;

export const reloadSchema = z.object({
  /** Changed keys that apply from now on, to new sessions. */
  changed: z.array(z.string()),
  /** Changed keys that apply after the next restart. */
  restartNeeded: z.array(z.string()),
});

export type ReloadView = z.infer<typeof reloadSchema>;

/** A problem document. Further fields carry the error's facts. Source: RFC 9457. */
export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number(),
    code: z.string(),
    detail: z.string(),
    hint: z.string(),
  })
  .loose();

export type Problem = z.infer<typeof problemSchema>;
