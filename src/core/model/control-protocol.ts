/**
 * The control socket's messages: newline-delimited JSON, one object with a `type` per line.
 * The only place that defines them; `kits/protocol.schema.json` is printed from here (npm run docs) and a test keeps it current.
 */
import { z } from 'zod';
import { TEXT } from '../../lib/limits/api-limits.ts';
import { DEADLINES } from '../../lib/limits/session-limits.ts';

export const PROTOCOL_VERSION = 1;

const text = (max: number) => z.string().max(max);

const hello = z.strictObject({
  type: z.literal('hello'),
  /** Protocol version, the only version field. */
  v: z.number().int(),
  /** The mark, `instance/worker`, from CURFEW_WORKER. */
  worker: text(200),
  /** The worker's control token, from CURFEW_TOKEN. */
  token: text(200),
  kit: z.strictObject({ name: text(40), version: text(40) }).optional(),
});

/** `reason`: the framework's own word. `provider` and `message`: of the error that closed it. */
const closedAgentSession = z.strictObject({
  reason: text(40),
  provider: text(200).optional(),
  message: text(4000).optional(),
});
export type ClosedAgentSession = z.infer<typeof closedAgentSession>;

/** The framework's reason for an AgentSession that closes because its caller left. */
export const CLOSED_BY_LEAVING = 'participant_disconnected';

/** After `hello`. Unknown keys are refused, so that a misspelled field is reported and not ignored. */
const workerMessages = [
  z.strictObject({ type: z.literal('ready') }),
  z.strictObject({ type: z.literal('heartbeat') }),
  z.strictObject({
    type: z.literal('activity'),
    kind: z.enum(['caller_speech', 'agent_speech', 'task', 'keep_alive']),
    /** For keep_alive: how long a silence is allowed. */
    forMs: z.number().int().min(0).max(DEADLINES.keepAliveMaxMs).optional(),
  }),
  z.strictObject({ type: z.literal('ok') }),
  z.strictObject({ type: z.literal('error'), message: text(4000), source: text(100).optional() }),
  /** Without a request: the worker's job is done. After `aclose`: the worker has closed its session. */
  z.strictObject({ type: z.literal('closed'), detail: text(TEXT.detailChars).optional() }),
  /** The worker cannot do its job any longer. While a caller is there, curfew replaces the worker. Before `ready` it ends the call, except for a warm worker. */
  z.strictObject({
    type: z.literal('failed'),
    message: text(4000),
    /** The job's own code raised an exception. Such a crash is replaced once at most. */
    raised: z.literal(true).optional(),
    /** The job still runs its shutdown callbacks. Its end is another message. */
    endsLater: z.literal(true).optional(),
  }),
  /** The worker has dialled a phone. Its crash is not replaced from now on, because the next worker would dial again. */
  z.strictObject({ type: z.literal('dialled') }),
  /** Acknowledges `configure`. */
  z.strictObject({ type: z.literal('configured'), rev: z.number().int().min(0) }),
  /** The stacks asked for by `dump` are in the worker's log. */
  z.strictObject({ type: z.literal('dumped') }),
  /** A LiveKit agent opened or closed an AgentSession, or it connects again. `open`: how many are open now. `closed`: the last one that closed. */
  z.strictObject({
    type: z.literal('agent_session'),
    open: z.number().int().min(0).max(1000),
    closed: closedAgentSession.optional(),
  }),
  /** The event loop of a LiveKit agent's job is blocked. The stack is in the worker's log. */
  z.strictObject({
    type: z.literal('loop_blocked'),
    forMs: z.number().int().min(0).max(DEADLINES.keepAliveMaxMs),
  }),
] as const;

/** Types that 0.1.0 refuses. A worker sends them only if the `welcome` lists them. */
export const LATER_TYPES = ['agent_session', 'loop_blocked', 'dialled'] as const;

/** The name in the `kit` of a hello that a launcher of curfew sent, and not the agent's own code. */
export const LAUNCHER_KITS: readonly string[] = ['python-launcher', 'node-launcher'];

export const helloSchema = hello;
export const workerMessageSchema = z.discriminatedUnion('type', workerMessages);
export type Hello = z.infer<typeof hello>;
export type WorkerMessage = z.infer<typeof workerMessageSchema>;

const metadata = z.record(z.string(), z.json());
const job = z.strictObject({ session: z.string(), room: z.string(), attempt: z.number().int(), metadata });

/** Every message of the supervisor. `welcome` is the first. `heartbeatMs`: how often the worker must send a heartbeat. */
export const supervisorMessageSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('welcome'),
    v: z.literal(PROTOCOL_VERSION),
    heartbeatMs: z.number(),
    job: job.nullable(),
    /** Types of messages that older supervisors refuse, and this one takes. */
    accepts: z.array(z.string()).optional(),
  }),
  /** A warm worker gets its room. */
  z.strictObject({ type: z.literal('assign'), job, url: z.string(), token: z.string() }),
  /** New metadata. It is sent again until `configured` comes back with this `rev`. */
  z.strictObject({ type: z.literal('configure'), rev: z.number().int(), metadata }),
  z.strictObject({ type: z.literal('notice'), reason: z.string(), inMs: z.number() }),
  z.strictObject({ type: z.literal('aclose'), reason: z.string(), boundMs: z.number() }),
  z.strictObject({ type: z.literal('disconnect'), boundMs: z.number() }),
  z.strictObject({ type: z.literal('dump') }),
  /** To a zygote: it forks a worker. Paths, and the whole environment of the worker. The claim in its folder answers. */
  z.strictObject({
    type: z.literal('fork'),
    folder: z.string(),
    cwd: z.string(),
    env: z.record(z.string(), z.string()),
    /** Octal. */
    umask: z.string(),
    maxFileBytes: z.number().int(),
    bootId: z.string(),
    /** null: without a cgroup of its own. */
    cgroup: z.string().nullable(),
    /** The cgroup of the process that waits for the worker. null: that of the zygote. */
    shimCgroup: z.string().nullable(),
  }),
  /** Says what was wrong. Then the supervisor closes the connection. */
  z.strictObject({
    type: z.literal('error'),
    code: z.string(),
    message: z.string(),
    field: z.string().nullable(),
  }),
]);
export type SupervisorMessage = z.infer<typeof supervisorMessageSchema>;

/** The order to a zygote to fork a worker. */
export type ForkOrder = Extract<SupervisorMessage, { type: 'fork' }>;
