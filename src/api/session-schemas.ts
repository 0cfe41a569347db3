/** Sessions over the wire: requests and answers of dispatch, list and release. JSON, camelCase, milliseconds. */

import { z } from 'zod';
import { isWarmId, isZygoteId } from '../core/ids.ts';
import { MEMORY_MEASURES } from '../core/memory-sample.ts';
import { TEXT } from '../lib/limits/api-limits.ts';
import { LIVEKIT_BOUNDS } from '../lib/limits/livekit-limits.ts';
import { LIMIT_RANGES } from '../lib/limits/session-limits.ts';
import { REGISTRY } from '../lib/limits/storage-limits.ts';
import { metadataSchema, ms, reasonSchema, stateSchema, time } from './common-schemas.ts';
import { idText, printable, upTo } from './text-rules.ts';

/** LiveKit lets nobody into a room with a longer name. */
const roomName = printable(TEXT.roomChars).refine(
  (name) => Buffer.byteLength(name) <= LIVEKIT_BOUNDS.roomNameBytes,
  {
    error: ({ input }) =>
      `has ${Buffer.byteLength(String(input))} bytes; LiveKit takes at most ${LIVEKIT_BOUNDS.roomNameBytes}`,
  },
);

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
  room: roomName.describe('Name of the LiveKit room.'),
  agent: idText.default('default').describe('Name of an agent in the config.'),
  user: printable(TEXT.userChars).optional().describe('The user of the call, for `limits.per_user`.'),
  id: idText
    .refine((id) => !isWarmId(id), 'must not begin with "warm-": such are warm workers')
    .refine((id) => !isZygoteId(id), 'must not begin with "zygote-": such are zygotes')
    .optional()
    .describe('An id of your own. It makes the call idempotent. Without one curfew creates an id.'),
  metadata: metadataSchema
    .default({})
    .describe(`A JSON object for the worker, up to ${TEXT.metadataBytes} bytes.`),
  labels: labelsSchema.default({}).describe(`Texts by key, for filters: up to ${TEXT.labels}.`),
  limits: limitsSchema.default({}).describe("Overrides of the agent's limits."),
});

export type DispatchRequest = z.infer<typeof dispatchSchema>;

export type LimitOverrides = z.infer<typeof limitsSchema>;

const why = {
  cause: z
    .string()
    .describe('The event or deadline that decided, such as `exit` or `deadline:max_duration`.'),
  at: time.describe('When it was decided.'),
  by: z.string().nullable().describe('The person or program that asked. `null`: nobody asked.'),
  detail: z.string().nullable().describe('More than the cause, where it is known.'),
};

const step = z.object({
  step: z.string().describe('`aclose`, `disconnect`, `term`, `kill`, `remove_agent` or `close_room`.'),
  startedAt: time.describe('When the step began.'),
  tookMs: ms.nullable().describe('How long it took. `null`: the step is under way.'),
  outcome: z
    .string()
    .nullable()
    .describe('`done`, `exited`, `timeout`, `failed` or `skipped`. `null`: the step is under way.'),
  detail: z.string().nullable().describe('Why it failed or was skipped.'),
});

export const sessionSchema = z.object({
  id: z.string().describe('Id of the session.'),
  room: z.string().describe('Name of the LiveKit room.'),
  agent: z.string().describe('Name of the agent in the config.'),
  user: z.string().nullable().describe('The user of the call. `null`: the dispatch named nobody.'),
  host: z.string().describe('Name of the host that runs it.'),
  state: stateSchema.describe('Where the session is in its life.'),
  reason: reasonSchema.nullable().describe('Why it ended. `null`: it is not ending.'),
  createdAt: time.describe('When curfew accepted the dispatch.'),
  startedAt: time.nullable().describe('When it left the queue. `null`: it has not.'),
  liveAt: time.nullable().describe('When its first worker was ready. `null`: none was.'),
  endedAt: time.nullable().describe('When its teardown was over. `null`: it has not ended.'),
  durationMs: ms.describe('From its start to its end, or to now. 0 before its start.'),
  pid: z.number().nullable().describe("Process id of the worker's command. `null`: there is none."),
  restarts: z.number().describe('How many workers replaced another one.'),
  replaced: z
    .array(
      z.object({
        worker: z.string().describe('Id of the replaced worker.'),
        reason: reasonSchema.describe('Why it was replaced.'),
        ...why,
      }),
    )
    .describe('The last replaced workers.'),
  exit: z
    .object({
      code: z
        .number()
        .nullable()
        .describe('Exit code. `null`: a signal ended it, or the status is not known.'),
      signal: z.string().nullable().describe('Signal. `null`: it exited, or the status is not known.'),
    })
    .nullable()
    .describe('How the worker ended. `null`: it runs, or there is none.'),
  errors: z
    .object({
      consecutive: z.number().describe('Errors in a row.'),
      limit: z.number().describe('So many in a row end the session.'),
      total: z.number().describe('Errors since its start.'),
    })
    .describe('Errors that the worker reported, crashes and missed starts.'),
  presence: z
    .object({
      callers: z.number().describe('Callers in the room.'),
      ringing: z.number().describe('Phones that ring.'),
      agents: z.number().describe('Agents in the room.'),
      asOf: time.describe('When LiveKit said so.'),
      source: z.enum(['poll', 'webhook']).describe('How LiveKit said so.'),
    })
    .nullable()
    .describe('Callers and agents in the room. `null`: not known yet.'),
  deadlines: z
    .array(
      z.object({
        kind: z.string().describe('A reason, or a step such as `ladder:term`.'),
        at: time.describe('When it expires.'),
        inMs: ms.describe('How long until then.'),
      }),
    )
    .describe('Deadlines that end the session or its step, soonest first.'),
  finishing: z
    .boolean()
    .describe('Its agent is out of the room, its callbacks still run, and a new session may begin there.'),
  rejoinOf: z
    .string()
    .nullable()
    .describe('Id of the session before this one, to whose room the caller returned. `null`: a dispatch.'),
  metadata: z.record(z.string(), z.json()).describe('As dispatched, or as changed since.'),
  labels: z.record(z.string(), z.string()).describe('As dispatched.'),
  resources: z
    .object({
      memoryBytes: z.number().describe("Memory that the worker's process tree costs the host."),
      memoryMeasure: z
        .enum(MEMORY_MEASURES)
        .describe(
          '`cgroup`: charged to its cgroup. `pss`: a shared page counts once. `pss_partly`: the same, but `rss` for unreadable processes. `rss`: a shared page counts once per process.',
        ),
      rssBytes: z.number().describe('The same as `memoryBytes`. The name is that of 0.1.0.'),
      cpuPercent: z.number().describe('Share of one core.'),
    })
    .nullable()
    .describe('The last sample. `null`: there is none.'),
  evidence: z
    .object({
      ...why,
      ladder: z.array(step).describe('Each step of the teardown.'),
      room: z
        .object({
          action: z
            .string()
            .describe('`close`, `keep` or `watch` (kept until it is empty or one caller is alone).'),
          why: z.string().describe('The rule that decided.'),
        })
        .nullable()
        .describe('Outcome for the room. `null`: not decided yet.'),
    })
    .nullable()
    .describe('The evidence of the end. `null`: it is not ending.'),
  held: z
    .object({
      reason: reasonSchema.describe('The ending that is held.'),
      until: time.describe('When curfew re-checks it.'),
    })
    .nullable()
    .describe('Set while the mass-end budget holds an ending.'),
});

export type SessionView = z.infer<typeof sessionSchema>;

export const listQuerySchema = z.strictObject({
  state: upTo(100).optional().describe('States, separated by commas. `open`: all that have not ended.'),
  room: upTo(TEXT.roomChars).optional().describe('Only sessions of this room.'),
  agent: upTo(TEXT.idChars).optional().describe('Only sessions of this agent.'),
  user: upTo(TEXT.userChars).optional().describe('Only sessions of this user.'),
  label: upTo(TEXT.labelKeyChars + TEXT.labelValueChars + 1)
    .optional()
    .describe('Only sessions with this label, as `key=value`.'),
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(REGISTRY.listMax)
    .default(REGISTRY.listDefault)
    .describe('At most so many.'),
  cursor: upTo(500).optional().describe('`nextCursor` of the page before.'),
});

export type ListQuery = z.infer<typeof listQuerySchema>;

export const listSchema = z.object({
  sessions: z.array(sessionSchema).describe('Newest first.'),
  nextCursor: z.string().nullable().describe('For the next page. `null`: this is the last one.'),
});

export type SessionList = z.infer<typeof listSchema>;

export const keepAliveSchema = z.strictObject({
  forMs: range('activityIdleTimeoutMs').optional().describe('How long. Without it: the idle timeout.'),
});

export const metadataPatchSchema = z.strictObject({
  metadata: metadataSchema.describe('Replaces the whole object.'),
});

const detail = upTo(TEXT.detailChars).optional().describe('Kept with the session, as `evidence.detail`.');

export const releaseSchema = z.strictObject({ detail });

export const releaseManySchema = z.strictObject({
  filter: z
    .strictObject({
      room: roomName.optional().describe('Only sessions of this room.'),
      agent: idText.optional().describe('Only sessions of this agent.'),
      user: printable(TEXT.userChars).optional().describe('Only sessions of this user.'),
      held: z
        .boolean()
        .optional()
        .describe(
          '`true`: only sessions whose ending the mass-end budget holds. `false` is as if it were absent.',
        ),
    })
    .default({})
    .describe('Which sessions. Several filters must all match.'),
  all: z.boolean().default(false).describe('Must be `true` with an empty filter.'),
  dryRun: z.boolean().default(false).describe('`true`: only answers which sessions would be released.'),
  detail,
});

export type ReleaseMany = z.infer<typeof releaseManySchema>;

export const releasedManySchema = z.object({
  dryRun: z.boolean().describe('As asked.'),
  sessions: z.array(sessionSchema).describe('The released sessions, or those that would be.'),
});
