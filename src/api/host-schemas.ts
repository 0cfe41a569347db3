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

/** `setAside`: where the last damaged database was put. */
const registry = z.object({
  writable: z.boolean(),
  error: z.string().nullable(),
  setAside: z.string().nullable(),
});

const drainSchema = z.object({
  since: time,
  by: z.string(),
  /** Until what is left is released; null: as long as it takes. */
  leftMs: ms.nullable(),
  /** Sessions that have not ended. */
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
  /** Sessions whose worker could not be killed; each still holds its slot and claim. */
  unkillable: z.array(z.object({ session: z.string(), pid: z.number().nullable() })),
  held: z.array(z.object({ session: z.string(), reason: reasonSchema, until: time })),
  livekit,
  /** How this host stands with LiveKit's own dispatch, for each agent name. */
  jobs: z.array(
    z.object({
      agentName: z.string(),
      state: z.enum(['connecting', 'registered']),
      since: time,
      error: z.string().nullable(),
    }),
  ),
  /** Workers that are kept started for calls to come. */
  warm: z.array(
    z.object({
      agent: z.string(),
      wanted: z.number(),
      ready: z.number(),
      starting: z.number(),
      /** Deaths in a row, the last one's reason, and when the next is started. */
      crashes: z.number(),
      lastCrash: z.string().nullable(),
      startsAgainInMs: ms.nullable(),
    }),
  ),
  registry,
});

export type CapacityView = z.infer<typeof capacitySchema>;

/** Open to all: what failed, and with which paths, is told by /v1/capacity. */
export const readySchema = z.object({
  ready: z.boolean(),
  accepting: z.boolean(),
  livekit: livekit.omit({ error: true }),
  registry: registry.pick({ writable: true }),
});

export type ReadyView = z.infer<typeof readySchema>;

export const reloadSchema = z.object({
  /** Keys of the config that hold from now on, for new sessions. */
  changed: z.array(z.string()),
  /** Keys that were changed in the file and hold after the next restart. */
  restartNeeded: z.array(z.string()),
});

export type ReloadView = z.infer<typeof reloadSchema>;

/** RFC 9457. */
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
