/** docs/reference/reasons.md: every reason of an ending. Reasons, times and exit codes come from the code's own tables; a reason without a text here does not compile. */
import { exitCodeOf } from '../src/cli/exit-codes.ts';
import type { Reason } from '../src/core/model/reasons.ts';
import { FAILED_REASONS, RELEASED_REASONS } from '../src/core/model/reasons.ts';
import { writeDuration } from '../src/lib/durations.ts';
import type { LimitName } from '../src/lib/limits/session-limits.ts';
import {
  ADMISSION,
  BACKOFF,
  DEADLINES,
  DEFAULT_LADDER,
  DEFAULT_SESSION_LIMITS,
  MASS_END,
} from '../src/lib/limits/session-limits.ts';
import { WORKERS } from '../src/lib/limits/worker-limits.ts';
import { LIMIT_NAMES } from './limit-names.ts';
import { code, page, table } from './markdown.ts';

type Limit = LimitName;

/** clock: the deadline alone decides. snapshot: a poll of LiveKit after the deadline decides. event: the event itself decides. */
type DecidedBy = 'clock' | 'snapshot' | 'event';

interface Row {
  readonly meaning: string;
  /** Limits that a dispatch may override; other keys are in `keys`. */
  readonly limits?: readonly Limit[];
  /** Key of the config → its default. */
  readonly keys?: Readonly<Record<string, string>>;
  readonly decidedBy: DecidedBy;
  /** Passes the mass-end budget. */
  readonly budget?: true;
  /** A worker with this fault is replaced first, where a caller is in the room and the profile has `replace: true`. */
  readonly replaced?: true;
  /** As in `evidence.cause`. */
  readonly causes: readonly string[];
}

const time = writeDuration;

const ROWS: Readonly<Record<Reason, Row>> = {
  requested: {
    meaning: 'A person or a program released the session, or somebody deleted its LiveKit dispatch.',
    decidedBy: 'event',
    causes: ['release', 'job_terminated'],
  },
  completed: {
    meaning: `The worker exited with 0, or said \`closed\`. Or its agent left the room, and a snapshot after the \`callers_left\` of a phone does not show it. Or a LiveKit agent closed its last AgentSession, and no caller was there for ${time(DEADLINES.agentSessionClosedMs)}.`,
    limits: ['callersLeftMs'],
    decidedBy: 'event',
    causes: ['exit', 'closed', 'participant_left', 'agent_session_closed'],
  },
  declined: {
    meaning:
      "A LiveKit agent rejected its job, for example in its own request function. It was asked once. A warm worker that rejects a call of LiveKit's dispatch stays warm.",
    decidedBy: 'event',
    causes: ['declined'],
  },
  not_answered: {
    meaning: `A phone rang and nobody answered. A ringing phone extends \`no_caller\` by ${time(DEADLINES.ringingMs)}. A phone that gave up counts as a caller who left.`,
    limits: ['noCallerMs', 'callersLostMs', 'callersLeftMs'],
    decidedBy: 'snapshot',
    budget: true,
    causes: ['deadline:no_caller_joined', 'participant_left', 'presence'],
  },
  max_duration: {
    meaning: `The session is as old as it may be. The worker gets a \`notice\` ${time(DEADLINES.maxDurationNoticeMs)} before. Nothing restarts this deadline.`,
    limits: ['maxDurationMs'],
    decidedBy: 'clock',
    causes: ['deadline:max_duration'],
  },
  idle_timeout: {
    meaning:
      'A worker that reports activity was silent. The first `activity` starts the timer. A dispatch that names this limit starts it at once. A LiveKit agent with `attach: auto` has it only if the profile or the dispatch names it.',
    limits: ['activityIdleTimeoutMs'],
    decidedBy: 'clock',
    budget: true,
    causes: ['deadline:idle_timeout'],
  },
  no_active_stream: {
    meaning:
      'No caller had a published audio track, and no activity was reported. The time counts from live on.',
    limits: ['noActiveStreamMs'],
    decidedBy: 'snapshot',
    budget: true,
    causes: ['deadline:no_active_stream'],
  },
  callers_left: {
    meaning:
      'Every caller is gone. `callers_left` counts after a hang-up, `callers_lost` after a lost connection. Only the second passes the budget. A LiveKit agent with an AgentSession usually ends as `completed` after a hang-up, because it ends its job first.',
    limits: ['callersLeftMs', 'callersLostMs'],
    decidedBy: 'snapshot',
    budget: true,
    causes: ['participant_left', 'presence'],
  },
  no_caller_joined: {
    meaning: 'No caller came. The time counts from the start of the worker, so a slow start is part of it.',
    limits: ['noCallerMs'],
    decidedBy: 'snapshot',
    budget: true,
    causes: ['deadline:no_caller_joined'],
  },
  room_finished: {
    meaning: 'LiveKit closed the room.',
    decidedBy: 'snapshot',
    causes: ['room_finished'],
  },
  shutdown: {
    meaning: 'The supervisor stops and releases its sessions, or the bound of a drain is over.',
    decidedBy: 'event',
    causes: ['release'],
  },
  start_timeout: {
    meaning:
      'The worker was not ready in time. Or the session got no slot within `limits.queue_timeout`. Or LiveKit did not hear the yes to its job.',
    limits: ['startTimeoutMs'],
    keys: { 'limits.queue_timeout': time(ADMISSION.queueTimeoutMs) },
    decidedBy: 'clock',
    replaced: true,
    causes: ['deadline:start_timeout', 'queue_timeout', 'job_late', 'job_unsent', 'deadline:spawn'],
  },
  error_limit: {
    meaning: `Errors in a row: reported by the worker, crashes, and missed starts. \`ok\`, or ${time(DEADLINES.errorResetMs)} without an error, resets the count.`,
    limits: ['errorLimit'],
    decidedBy: 'event',
    budget: true,
    causes: ['error', 'the cause of the last crash'],
  },
  crashed: {
    meaning:
      'The worker exited with another code than 0, or by a signal. Or it said `failed`. Or its command could not be started. Or an error closed the last AgentSession of a LiveKit agent.',
    decidedBy: 'event',
    replaced: true,
    causes: ['exit', 'failed', 'spawn_failed', 'agent_session_failed'],
  },
  agent_absent: {
    meaning: `The worker runs, a caller is in the room, and the agent is not: for this time, and in ${DEADLINES.agentAbsentPolls} snapshots.`,
    keys: { agent_absent: time(DEADLINES.agentAbsentMs) },
    decidedBy: 'snapshot',
    budget: true,
    replaced: true,
    causes: ['deadline:agent_absent'],
  },
  unresponsive: {
    meaning: `The worker sent no heartbeat. curfew then asks for its stacks and gives it ${time(DEADLINES.dumpMs)} to write them.`,
    keys: {
      heartbeat_stale: `${time(DEADLINES.heartbeatStaleMs)}, with \`attach: auto\` ${time(DEADLINES.attachedStaleMs)}`,
    },
    decidedBy: 'clock',
    budget: true,
    replaced: true,
    causes: ['deadline:unresponsive'],
  },
  memory_limit: {
    meaning: `Two samples in a row, ${time(WORKERS.sampleMs)} apart, were over the limit. Or the kernel killed a process of the worker at the limit.`,
    keys: { memory: 'no limit' },
    decidedBy: 'event',
    replaced: true,
    causes: ['sample:memory', 'oom_kill'],
  },
  worker_lost: {
    meaning:
      'The worker is gone and its exit status is not known: somebody killed its shim, or it could not be recorded.',
    decidedBy: 'event',
    replaced: true,
    causes: ['exit'],
  },
  node_lost: {
    meaning: 'The host was rebooted.',
    decidedBy: 'event',
    causes: ['reboot'],
  },
  unkillable: {
    meaning: `A process of the worker outlived SIGKILL: the bound of KILL, and a scan of up to ${time(DEADLINES.confirmMs)} after it. The detail keeps the first cause.`,
    keys: { 'ladder.kill': time(DEFAULT_LADDER.killMs) },
    decidedBy: 'snapshot',
    causes: ['the first cause', 'deadline:kill'],
  },
};

function limitText(limit: Limit): string {
  const value = DEFAULT_SESSION_LIMITS[limit] ?? 0;
  if (limit === 'callersLeftMs')
    return `auto (${time(DEFAULT_SESSION_LIMITS.phonesLeftMs)} for a phone, ${time(value)} for others)`;
  return limit === 'errorLimit' ? String(value) : time(value);
}

function rowOf(reason: Reason, outcome: 'released' | 'failed'): string[] {
  const { meaning, limits = [], keys = {}, decidedBy, budget, replaced } = ROWS[reason];
  const config = [
    ...limits.map((one) => `${code(LIMIT_NAMES[one].config)} ${limitText(one)}`),
    ...Object.entries(keys).map(([key, initial]) => `${code(key)} ${initial}`),
  ];
  const marks = [...(budget ? ['budget'] : []), ...(replaced ? ['replaced'] : [])];
  const exit = String(exitCodeOf({ state: outcome, reason }));
  return [
    code(reason),
    meaning,
    config.join(', '),
    limits.map((one) => code(one)).join(', '),
    decidedBy,
    marks.join(', '),
    exit,
  ];
}

const HEAD = [
  'reason',
  'meaning',
  'config key and default',
  'dispatch override',
  'decided by',
  'also',
  'exit code',
];

const WORDS = [
  '- **decided by clock**: the deadline alone ends the session.',
  '- **decided by snapshot**: after the deadline curfew asks LiveKit once more, and only that answer ends the session. While LiveKit does not answer, nothing ends for absence. `unkillable` is decided by a scan of the host in the same way.',
  '- **decided by event**: the event itself ends the session.',
  `- **budget**: curfew holds such an ending when too many sessions would end within ${time(MASS_END.windowMs)}: more than ${MASS_END.count}, and more than ${MASS_END.share * 100} % of the live ones. It re-checks a held session after ${time(DEADLINES.heldMs)}. \`curfew capacity\` lists it, \`curfew release --held\` ends it.`,
  `- **replaced**: while a caller is in the room, and with \`replace: true\`, another worker takes the call. It starts after ${time(BACKOFF.firstMs)}, doubled with each error in a row up to ${time(BACKOFF.maxMs)}, with ${(BACKOFF.jitter * 100) / 2} % of jitter. Each crash counts as an error.`,
  '- **exit code**: of `curfew run` and `curfew dispatch --wait`.',
];

function causes(): string[] {
  const all = [...RELEASED_REASONS, ...FAILED_REASONS];
  const cause = (text: string) => (text.includes(' ') ? text : code(text));
  return [
    '## Causes',
    '',
    '`curfew show ID` and `evidence.cause` name what decided:',
    '',
    ...table(
      ['reason', 'causes'],
      all.map((one) => [code(one), ROWS[one].causes.map(cause).join(', ')]),
    ),
  ];
}

export function reasonsReference(): string {
  return page(
    'Reasons',
    'src/core/model/reasons.ts, src/lib/limits/session-limits.ts and scripts/reasons-reference.ts',
    [
      [
        'Every session ends for one reason: the first cause. A later cause never replaces it, except for `unkillable`. The teardown that follows: [teardown](../explain/teardown.md).',
      ],
      WORDS,
      [
        '## Released: a normal end',
        '',
        ...table(
          HEAD,
          RELEASED_REASONS.map((one) => rowOf(one, 'released')),
        ),
      ],
      [
        '## Failed: something broke',
        '',
        ...table(
          HEAD,
          FAILED_REASONS.map((one) => rowOf(one, 'failed')),
        ),
      ],
      causes(),
    ],
  );
}
