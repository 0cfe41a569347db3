/** The schema of the YAML file: snake_case with units. config/curfew.example.yaml documents every key. */
import { z } from 'zod';
import { idText, patternText, printable } from '../../api/text-rules.ts';
import type { AutoAttach, Profile, WorkerProtocol } from '../../core/model/profile.ts';
import { TEXT } from '../../lib/limits/api-limits.ts';
import { CALLERS } from '../../lib/limits/room-limits.ts';
import type { SessionLimits } from '../../lib/limits/session-limits.ts';
import {
  ADMISSION,
  DEADLINES,
  DEFAULT_LADDER,
  DEFAULT_SESSION_LIMITS,
  LADDER_RANGE_MS,
  LIMIT_RANGES,
  WRAP_UP_RANGE_MS,
} from '../../lib/limits/session-limits.ts';
import { TEMP } from '../../lib/limits/temp-limits.ts';
import { WARM, ZYGOTE } from '../../lib/limits/worker-limits.ts';
import { ENV_NAME } from '../../process/env-name.ts';
import {
  bytes,
  duration,
  durationOrAuto,
  durationOrOff,
  hostShareOrOff,
  percent,
  rate,
} from './config-units.ts';

const SECOND_MS = 1000;
const DAY_MS = 86_400 * SECOND_MS;

const text = z.string({ error: 'must be text' });
const path = text.min(1, 'must not be empty');
const tempDir = path
  .startsWith('/', 'must be an absolute path')
  .refine(
    (one) => Buffer.byteLength(one) <= TEMP.dirBytes,
    `must have at most ${TEMP.dirBytes} bytes, because programs put Unix sockets below it`,
  );
const section = <const T extends z.ZodRawShape>(shape: T) =>
  z.strictObject(shape, { error: 'must be a map of keys' });
const count = (least: number, most: number) => {
  const message = `must be a whole number from ${least} to ${most}`;
  return z.number({ error: message }).int(message).min(least, message).max(most, message);
};
const choice = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values, { error: `must be one of ${values.join(', ')}` });

const command = z
  .array(text, {
    error: 'must be a list, such as [python, agent.py]; curfew never passes a command through a shell',
  })
  .min(1, 'must name a program')
  .refine((parts) => parts[0] !== '', 'must name a program')
  .refine((parts) => parts.every((part) => !part.includes('\0')), 'must not contain a NUL character');

const envName = text.regex(ENV_NAME, 'must be a name of letters, digits and _');
const isFree = (name: string) =>
  !/^(CURFEW_(WORKER|SOCKET|TOKEN|SESSION_ID|ROOM|METADATA|ATTEMPT|(REAL_)?LIVEKIT_.*)|LIVEKIT_TOKEN)$/.test(
    name,
  );

const passedName = z.union([z.literal('*'), envName], {
  error: 'must be a name of letters, digits and _, or "*" for the whole environment',
});
const LIVEKIT_NAMES = ['LIVEKIT_URL', 'LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET'];

const livekit = section({
  url: text.regex(/^(wss?|https?):\/\/.+/, 'must begin with ws://, wss://, http:// or https://'),
  api_key: text,
  api_key_file: path,
  api_secret: text,
  api_secret_file: path,
}).partial();

const glob = printable(CALLERS.patternChars).refine(
  (one) => one.replaceAll('*', '') !== '',
  'must have at least one character without *',
);

const ignore = section({
  identities: z
    .array(glob, { error: 'must be a list of patterns' })
    .max(CALLERS.patterns, `must have at most ${CALLERS.patterns} patterns`)
    .default([]),
  attributes: z
    .record(printable(CALLERS.patternChars), printable(CALLERS.patternChars), {
      error: 'must be a map of names and values',
    })
    .refine((map) => Object.keys(map).length <= CALLERS.patterns, {
      error: `must have at most ${CALLERS.patterns} attributes`,
    })
    .default({}),
}).prefault({});

const ladder = section({
  aclose: duration(LADDER_RANGE_MS),
  disconnect: duration(LADDER_RANGE_MS),
  term: duration(LADDER_RANGE_MS),
  kill: duration(LADDER_RANGE_MS),
  remove_agent: duration(LADDER_RANGE_MS),
  close_room: duration(LADDER_RANGE_MS),
  signal: choice(['main', 'all']),
}).partial();

const agent = section({
  command,
  protocol: choice(['none', 'livekit', 'curfew']).default('none'),
  version: text.nullable().default(null),
  cwd: path.nullable().default(null),
  env: z
    .record(
      envName.refine(isFree, 'is set by curfew itself'),
      z.union([text, z.number(), z.boolean()]).transform(String),
    )
    .default({}),
  pass_env: z.array(passedName, { error: 'must be a list of names' }).nullable().default(null),
  env_file: path.nullable().default(null),
  livekit_access: choice(['full', 'room']).optional(),
  livekit: livekit.nullable().default(null),
  max_duration: duration(LIMIT_RANGES.maxDurationMs).default(DEFAULT_SESSION_LIMITS.maxDurationMs),
  idle_timeout: duration(LIMIT_RANGES.activityIdleTimeoutMs).optional(),
  no_active_stream: durationOrOff(LIMIT_RANGES.noActiveStreamMs).default(
    DEFAULT_SESSION_LIMITS.noActiveStreamMs,
  ),
  start_timeout: duration(LIMIT_RANGES.startTimeoutMs).default(DEFAULT_SESSION_LIMITS.startTimeoutMs),
  no_caller: duration(LIMIT_RANGES.noCallerMs).default(DEFAULT_SESSION_LIMITS.noCallerMs),
  callers_lost: duration(LIMIT_RANGES.callersLostMs).default(DEFAULT_SESSION_LIMITS.callersLostMs),
  callers_left: durationOrAuto(LIMIT_RANGES.callersLeftMs).default('auto'),
  callers: section({ ignore, listeners: choice(['ignore', 'count']).default('ignore') }).prefault({}),
  error_limit: count(...LIMIT_RANGES.errorLimit).default(DEFAULT_SESSION_LIMITS.errorLimit),
  agent_absent: duration([SECOND_MS, DAY_MS]).default(DEADLINES.agentAbsentMs),
  heartbeat_stale: duration([DEADLINES.heartbeatEveryMs, DAY_MS]).optional(),
  attach: choice(['auto', 'off']).default('auto'),
  wrap_up: duration(WRAP_UP_RANGE_MS).default(DEFAULT_LADDER.wrapUpMs),
  ladder: ladder.default({}),
  agent_name: text.max(TEXT.roomChars).nullable().default(null),
  rooms: printable(TEXT.roomChars).nullable().default(null),
  side_rooms: text
    .max(TEXT.roomChars)
    .refine(
      (one) => one.includes('{room}') && one !== '{room}',
      'must contain {room} and more, such as {room}-human-agent',
    )
    .nullable()
    .default(null),
  room_on_end: choice(['auto', 'close', 'keep']).default('auto'),
  rejoin: choice(['auto', 'always', 'off']).default('auto'),
  on_refused: choice(['close', 'keep']).default('close'),
  claim: choice(['room', 'room+agent']).default('room'),
  replace: z
    .union([z.boolean(), z.literal('always')], { error: 'must be true, false or always' })
    .default(true),
  warm: count(0, WARM.most).default(0),
  prefork: choice(['auto', 'off']).default('off'),
  prefork_max_age: duration([60 * SECOND_MS, DAY_MS]).default(ZYGOTE.maxAgeMs),
  memory: bytes.nullable().default(null),
  cpu: percent.nullable().default(null),
  tmp: choice(['worker', 'shared']).default('worker'),
  /** The most sessions of this agent at a time. `limits.sessions` counts too. `null`: no limit of its own. */
  sessions: count(0, 100_000).nullable().default(null),
}).superRefine(({ protocol, env, livekit_access }, context) => {
  const own = protocol !== 'livekit' ? ['LIVEKIT_URL'] : livekit_access === 'room' ? LIVEKIT_NAMES : [];
  for (const name of own.filter((one) => one in env)) {
    const message =
      protocol === 'livekit' ? 'is set by curfew itself with livekit_access room' : 'is set by curfew itself';
    // The value is a secret. An error of this kind shows no value.
    const issues = [{ code: 'custom' as const, path: [], message }];
    context.addIssue({ code: 'invalid_key', origin: 'record', path: ['env', name], issues });
  }
});

const httpListen = text.transform((given, context) => {
  if (given === 'off') return null;
  const match = /^(\[[0-9a-fA-F:]+\]|[^:[\]]+):(\d{1,5})$/.exec(given);
  const port = Number(match?.[2]);
  if (match?.[1] !== undefined && port <= 65_535) return { host: match[1].replace(/^\[|\]$/g, ''), port };
  context.addIssue({
    code: 'custom',
    message: 'must be HOST:PORT, such as 127.0.0.1:7890, or off',
    input: given,
  });
  return z.NEVER;
});

const apiToken = section({
  name: idText,
  token: text.min(16, 'must be at least 16 characters').optional(),
  token_file: path.optional(),
  scopes: z
    .array(choice(['read', 'dispatch', 'release', 'admin']), { error: 'must be a list of scopes' })
    .min(1, 'must name a scope'),
}).refine(
  (one) => (one.token === undefined) !== (one.token_file === undefined),
  'must have either token or token_file',
);

export const fileSchema = section({
  livekit: livekit.default({}),
  listen: section({ socket: path, http: httpListen }).partial().default({}),
  state_dir: path.optional(),
  temp_dir: tempDir.optional(),
  temp_max: bytes.default(TEMP.maxBytes),
  limits: section({
    sessions: count(0, 100_000).default(ADMISSION.sessions),
    per_user: z
      .union([count(0, 100_000), z.literal('off').transform(() => null)], {
        error: 'must be a whole number, or off',
      })
      .default(ADMISSION.perUser),
    start_rate: rate.default(ADMISSION.startRatePerSecond),
    queue: count(0, 100_000).default(ADMISSION.queue),
    queue_timeout: duration([100, DAY_MS]).default(ADMISSION.queueTimeoutMs),
    cpu: hostShareOrOff.default(ADMISSION.cpu),
    memory_free: hostShareOrOff.default(ADMISSION.memoryFree),
  }).prefault({}),
  cgroups: choice(['auto', 'off']).default('auto'),
  agents: z.record(idText, agent, { error: 'must be a map of agents by name' }).default({}),
  presence: section({ poll_interval: duration([200, 3600 * SECOND_MS]) })
    .partial()
    .default({}),
  shutdown: section({
    timeout: duration([SECOND_MS, DAY_MS]),
    on_term: choice(['release', 'drain', 'leave']),
  })
    .partial()
    .default({}),
  retention: section({
    sessions: duration([60 * SECOND_MS, 3650 * DAY_MS]),
    logs: duration([60 * SECOND_MS, 3650 * DAY_MS]),
    logs_total: bytes,
  })
    .partial()
    .default({}),
  sweep: section({
    grace: duration([SECOND_MS, DAY_MS]),
    unmanaged: z.array(patternText, { error: 'must be a list of patterns' }),
  })
    .partial()
    .default({}),
  log: section({
    level: choice(['debug', 'info', 'warn', 'error', 'silent']),
    format: choice(['json', 'text']),
  })
    .partial()
    .default({}),
  logs: section({ forward: choice(['off', 'stdout', 'journald']) })
    .partial()
    .default({}),
  api: section({ tokens: z.array(apiToken, { error: 'must be a list of tokens' }) })
    .partial()
    .default({}),
});

/** The only section that client commands need. */
export const socketSchema = z.object(
  { listen: z.object({ socket: path }, { error: 'must be a map of keys' }).partial().default({}) },
  { error: 'must be a map of keys' },
);

export type ConfigFile = z.infer<typeof fileSchema>;
export type AgentFile = z.infer<typeof agent>;

/** The values of a profile that its file only names. */
export interface ResolvedParts {
  readonly envFile: string | null;
}

export function toProfile(name: string, file: AgentFile, parts: ResolvedParts): Profile {
  const [program = '', ...args] = file.command;
  const { ladder: steps } = file;
  const passed = file.pass_env ?? (file.protocol === 'livekit' ? ['*'] : []);
  return {
    agent: name,
    version: file.version,
    protocol: file.protocol,
    command: [program, ...args],
    cwd: file.cwd,
    env: file.env,
    passEnv: passed.filter((one) => one !== '*'),
    passAll: passed.includes('*'),
    ...parts,
    ...(file.protocol === 'livekit' && { livekitAccess: file.livekit_access ?? 'full' }),
    limits: {
      maxDurationMs: file.max_duration,
      activityIdleTimeoutMs: file.idle_timeout ?? DEFAULT_SESSION_LIMITS.activityIdleTimeoutMs,
      noActiveStreamMs: file.no_active_stream,
      startTimeoutMs: file.start_timeout,
      noCallerMs: file.no_caller,
      callersLostMs: file.callers_lost,
      ...graceAfterHangUp(file.callers_left),
      errorLimit: file.error_limit,
    },
    ladder: {
      acloseMs: steps.aclose ?? DEFAULT_LADDER.acloseMs,
      disconnectMs: steps.disconnect ?? DEFAULT_LADDER.disconnectMs,
      termMs: steps.term ?? DEFAULT_LADDER.termMs,
      killMs: steps.kill ?? DEFAULT_LADDER.killMs,
      removeAgentMs: steps.remove_agent ?? DEFAULT_LADDER.removeAgentMs,
      closeRoomMs: steps.close_room ?? DEFAULT_LADDER.closeRoomMs,
      wrapUpMs: file.wrap_up,
      signal: steps.signal ?? 'main',
    },
    agentAbsentMs: file.agent_absent,
    heartbeatStaleMs: file.heartbeat_stale ?? DEADLINES.heartbeatStaleMs,
    ...(file.protocol === 'livekit' && { autoAttach: autoAttach(file) }),
    agentName: file.agent_name,
    rooms: file.rooms,
    sideRooms: file.side_rooms,
    roomOnEnd: file.room_on_end,
    rejoin: file.rejoin,
    onRefused: file.on_refused,
    claim: file.claim,
    replace: file.replace !== false,
    ...(file.replace === 'always' && { replaceDialled: true }),
    warm: file.warm,
    ...(file.protocol === 'livekit' && { prefork: file.prefork, preforkMaxAgeMs: file.prefork_max_age }),
    memoryBytes: file.memory,
    cpuPercent: file.cpu,
    ...ignoredCallers(file.callers),
    tmp: file.tmp,
  };
}

/** `auto`: phones have their own grace. A duration is for every caller. */
function graceAfterHangUp(given: 'auto' | number): Pick<SessionLimits, 'callersLeftMs' | 'phonesLeftMs'> {
  const { callersLeftMs, phonesLeftMs } = DEFAULT_SESSION_LIMITS;
  return given === 'auto' ? { callersLeftMs, phonesLeftMs } : { callersLeftMs: given };
}

function ignoredCallers({ ignore, listeners }: AgentFile['callers']): Pick<Profile, 'ignore'> {
  const { identities, attributes } = ignore;
  if (listeners === 'ignore') return { ignore: { identities, attributes, listeners: true } };
  const isEmpty = identities.length === 0 && Object.keys(attributes).length === 0;
  return isEmpty ? {} : { ignore: { identities, attributes } };
}

function autoAttach({ attach, heartbeat_stale, idle_timeout }: AgentFile): AutoAttach | null {
  if (attach === 'off') return null;
  return {
    heartbeatStaleMs: heartbeat_stale ?? DEADLINES.attachedStaleMs,
    armsIdle: idle_timeout !== undefined,
  };
}

/** A profile with the defaults of the file. */
export function defaultProfile(
  name: string,
  program: readonly [string, ...string[]],
  protocol: WorkerProtocol = 'none',
): Profile {
  return toProfile(name, agent.parse({ command: program, protocol }), { envFile: null });
}
