/**
 * The wire: what HTTP, the CLI's --json and (later) events carry. One set of schemas validates, types and documents it.
 * camelCase; times are ISO 8601 in UTC; durations and lengths end in their unit.
 */
import { z } from 'zod';
import type { SweepRequest, SweepView } from './api-sweep.ts';
import { isWarmId } from './core/ids.ts';
import { FAILED_REASONS, RELEASED_REASONS } from './core/reasons.ts';
import type { Author } from './core/session.ts';
import { DRAIN, LIMIT_RANGES, REGISTRY, TEXT } from './limits.ts';
import { idText, printable, upTo } from './texts.ts';

const time = z.iso.datetime();
const ms = z.number();

const roomName = printable(TEXT.roomChars);
const LABEL_KEY = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/;
const labelKey = upTo(TEXT.labelKeyChars).regex(LABEL_KEY);
const labelKeyRule = `its key must be at most ${TEXT.labelKeyChars} letters, digits, ".", "_", "/" or "-"`;

const range = (key: keyof typeof LIMIT_RANGES) => {
  const [least, most] = LIMIT_RANGES[key];
  const message = `must be a whole number from ${least} to ${most}`;
  return z.number({ error: message }).int(message).min(least, message).max(most, message);
};

const limitsSchema = z.strictObject({
  maxDurationMs: range('maxDurationMs').optional(),
  activityIdleTimeoutMs: range('activityIdleTimeoutMs').optional(),
  noActiveStreamMs: range('noActiveStreamMs').nullable().optional(),
  startTimeoutMs: range('startTimeoutMs').optional(),
  noCallerMs: range('noCallerMs').optional(),
  callersLostMs: range('callersLostMs').optional(),
  callersLeftMs: range('callersLeftMs').optional(),
  errorLimit: range('errorLimit').optional(),
});

const metadataSchema = z
  .record(z.string(), z.json())
  .refine(
    (value) => Buffer.byteLength(JSON.stringify(value)) <= TEXT.metadataBytes,
    `must be at most ${TEXT.metadataBytes} bytes as JSON`,
  );

const labelsSchema = z
  .record(labelKey, upTo(TEXT.labelValueChars), {
    error: ({ code }) => (code === 'invalid_key' ? labelKeyRule : undefined),
  })
  .refine((value) => Object.keys(value).length <= TEXT.labels, `must be at most ${TEXT.labels} labels`);

export const dispatchSchema = z.strictObject({
  room: roomName,
  agent: idText.default('default'),
  user: printable(TEXT.userChars).optional(),
  /** The client's own id: makes the call idempotent. */
  id: idText.refine((id) => !isWarmId(id), 'must not begin with "warm-": such are warm workers').optional(),
  metadata: metadataSchema.default({}),
  labels: labelsSchema.default({}),
  limits: limitsSchema.default({}),
});
export type DispatchRequest = z.infer<typeof dispatchSchema>;
export type LimitOverrides = z.infer<typeof limitsSchema>;

const stateSchema = z.enum(['queued', 'starting', 'live', 'closing', 'released', 'failed']);
const reasonSchema = z.enum([...RELEASED_REASONS, ...FAILED_REASONS]);

const why = { cause: z.string(), at: time, by: z.string().nullable(), detail: z.string().nullable() };
const step = z.object({
  step: z.string(),
  startedAt: time,
  tookMs: ms.nullable(),
  outcome: z.string().nullable(),
  detail: z.string().nullable(),
});

export const sessionSchema = z.object({
  id: z.string(),
  room: z.string(),
  agent: z.string(),
  user: z.string().nullable(),
  host: z.string(),
  state: stateSchema,
  reason: reasonSchema.nullable(),
  createdAt: time,
  startedAt: time.nullable(),
  liveAt: time.nullable(),
  endedAt: time.nullable(),
  durationMs: ms,
  pid: z.number().nullable(),
  restarts: z.number(),
  /** The last workers that gave way to another one. */
  replaced: z.array(z.object({ worker: z.string(), reason: reasonSchema, ...why })),
  exit: z.object({ code: z.number().nullable(), signal: z.string().nullable() }).nullable(),
  errors: z.object({ consecutive: z.number(), limit: z.number(), total: z.number() }),
  presence: z
    .object({
      callers: z.number(),
      ringing: z.number(),
      agents: z.number(),
      asOf: time,
      source: z.enum(['poll', 'webhook']),
    })
    .nullable(),
  /** Soonest first. */
  deadlines: z.array(z.object({ kind: z.string(), at: time, inMs: ms })),
  metadata: z.record(z.string(), z.json()),
  labels: z.record(z.string(), z.string()),
  resources: z.object({ rssBytes: z.number(), cpuPercent: z.number() }).nullable(),
  evidence: z
    .object({
      ...why,
      ladder: z.array(step),
      room: z.object({ action: z.string(), why: z.string() }).nullable(),
    })
    .nullable(),
  /** Why an inferred ending is held back, and until when it will be looked at afresh. */
  held: z.object({ reason: reasonSchema, until: time }).nullable(),
});
export type SessionView = z.infer<typeof sessionSchema>;

export const listQuerySchema = z.strictObject({
  /** Comma-separated states; `open` stands for all that have not ended. */
  state: upTo(100).optional(),
  room: upTo(TEXT.roomChars).optional(),
  agent: upTo(TEXT.idChars).optional(),
  user: upTo(TEXT.userChars).optional(),
  /** `key=value` */
  label: upTo(TEXT.labelKeyChars + TEXT.labelValueChars + 1).optional(),
  limit: z.coerce.number().int().min(1).max(REGISTRY.listMax).default(REGISTRY.listDefault),
  cursor: upTo(500).optional(),
});
export type ListQuery = z.infer<typeof listQuerySchema>;
export const listSchema = z.object({ sessions: z.array(sessionSchema), nextCursor: z.string().nullable() });
export type SessionList = z.infer<typeof listSchema>;

export const keepAliveSchema = z.strictObject({ forMs: range('activityIdleTimeoutMs').optional() });
export const metadataPatchSchema = z.strictObject({ metadata: metadataSchema });
export const releaseSchema = z.strictObject({ detail: upTo(TEXT.detailChars).optional() });
export const releaseManySchema = z.strictObject({
  filter: z
    .strictObject({
      room: roomName.optional(),
      agent: idText.optional(),
      user: printable(TEXT.userChars).optional(),
      /** True: only sessions whose inferred ending is held back by the mass-end budget. False is as if it were absent. */
      held: z.boolean().optional(),
    })
    .default({}),
  /** Must be true to release with an empty filter. */
  all: z.boolean().default(false),
  dryRun: z.boolean().default(false),
  detail: upTo(TEXT.detailChars).optional(),
});
export type ReleaseMany = z.infer<typeof releaseManySchema>;
export const releasedManySchema = z.object({ dryRun: z.boolean(), sessions: z.array(sessionSchema) });

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

/** What a token may do; `admin` implies all. */
export type Scope = 'read' | 'dispatch' | 'release' | 'admin';

export interface ApiToken {
  readonly name: string;
  readonly token: string;
  readonly scopes: readonly Scope[];
}

/** What the supervisor offers its faces. Every method rejects with CurfewError only. */
export interface SupervisorApi {
  /** `created` is false for a repeat with the same id and body. Rejects room_taken, at_capacity, id_conflict, registry_unavailable, stopping. */
  dispatch(request: DispatchRequest, by: Author): Promise<{ session: SessionView; created: boolean }>;
  get(id: string): Promise<SessionView>;
  list(query: ListQuery): Promise<SessionList>;
  /** Resolves as soon as the release is under way. Rejects not_found; a session that has ended is answered as it is. */
  release(id: string, by: Author, detail: string | null): Promise<SessionView>;
  releaseMany(request: ReleaseMany, by: Author): Promise<SessionView[]>;
  keepAlive(id: string, forMs: number | null, by: Author): Promise<SessionView>;
  setMetadata(id: string, metadata: z.infer<typeof metadataSchema>, by: Author): Promise<SessionView>;
  /** Resolves when the session is live (or closing, or ended), has ended, or after `boundMs`, with the session as it is then. */
  wait(id: string, until: 'live' | 'ended', boundMs: number): Promise<SessionView>;
  /** Log files of the session's workers, oldest first. */
  logPaths(id: string): Promise<string[]>;
  /** Dry run by default. Rejects not_found for an unknown plan. */
  sweep(request: SweepRequest, by: Author): Promise<SweepView>;
  /** Accepts nothing more and stops after the last session; `timeoutMs`: then what is left is released. */
  drain(timeoutMs: number | null, by: Author): Promise<CapacityView>;
  undrain(by: Author): Promise<CapacityView>;
  capacity(): CapacityView;
  ready(): ReadyView;
  /** Reads the config again. Rejects invalid_config, and all stays as it was. */
  reload(by: Author): Promise<ReloadView>;
  /** Rejects bad_signature, no_livekit. */
  webhook(rawBody: string, authorization: string | undefined): Promise<void>;
  /** A token that may watch, keep alive and release this session only. */
  sessionToken(id: string): Promise<string>;
  /** The session that a session token belongs to; null: no such token. */
  sessionOfToken(token: string): string | null;
}
