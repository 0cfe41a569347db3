/** Sessions over the wire: requests and answers of dispatch, list and release. JSON, camelCase, milliseconds. */

import { z } from 'zod';
import { isWarmId } from '../core/ids.ts';
import { TEXT } from '../lib/limits/api-limits.ts';
import { LIMIT_RANGES } from '../lib/limits/session-limits.ts';
import { REGISTRY } from '../lib/limits/storage-limits.ts';
import { metadataSchema, ms, reasonSchema, stateSchema, time } from './common-schemas.ts';
import { idText, printable, upTo } from './text-rules.ts';

const roomName = printable(TEXT.roomChars);

const LABEL_KEY = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/;

const labelKey = upTo(TEXT.labelKeyChars).regex(LABEL_KEY);

const labelKeyRule = `the key must have at most ${TEXT.labelKeyChars} characters: letters, digits, ".", "_", "/" or "-"`;

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

const labelsSchema = z
  .record(labelKey, upTo(TEXT.labelValueChars), {
    error: ({ code }) => (code === 'invalid_key' ? labelKeyRule : undefined),
  })
  .refine((value) => Object.keys(value).length <= TEXT.labels, `must be at most ${TEXT.labels} labels`);

export const dispatchSchema = z.strictObject({
  room: roomName,
  agent: idText.default('default'),
  user: printable(TEXT.userChars).optional(),
  /** The client's own id. It makes the request idempotent. */
  id: idText
    .refine((id) => !isWarmId(id), 'must not begin with "warm-": these are the ids of warm workers')
    .optional(),
  metadata: metadataSchema.default({}),
  labels: labelsSchema.default({}),
  limits: limitsSchema.default({}),
});

export type DispatchRequest = z.infer<typeof dispatchSchema>;

export type LimitOverrides = z.infer<typeof limitsSchema>;

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
  /** The last workers that curfew replaced. */
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
  /** The ending that the mass-end budget holds. curfew checks it again at `until`. null: none is held. */
  held: z.object({ reason: reasonSchema, until: time }).nullable(),
});

export type SessionView = z.infer<typeof sessionSchema>;

export const listQuerySchema = z.strictObject({
  /** Comma-separated states. `open` stands for all states before the end. */
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
      /** True: only sessions with an ending that the mass-end budget holds. False is the same as absent. */
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
