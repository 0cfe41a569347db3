/** The tables of docs/reference/states.md about time: every deadline, and every step of a teardown. */
import type { PhaseName, Session } from '../src/core/model/session.ts';
import type { Next } from '../src/core/model/updates.ts';
import type { DeadlineKind, DeadlineRule } from '../src/core/session/deadline-table.ts';
import { DEADLINE_TABLE } from '../src/core/session/deadline-table.ts';
import type { StepRule } from '../src/core/teardown/steps.ts';
import { REPLACE_STEPS, ROOM_STEPS, STEPS } from '../src/core/teardown/steps.ts';
import {
  BACKOFF,
  DEADLINES,
  DEFAULT_LADDER,
  DEFAULT_SESSION_LIMITS,
} from '../src/lib/limits/session-limits.ts';
import {
  agent,
  at,
  exited,
  gone,
  left,
  look,
  Play,
  participant,
  profile,
  release,
  roomEvent,
  says,
  WORKER,
} from '../test/core/support.ts';

const L = DEFAULT_SESSION_LIMITS;
const ann = participant('ann');
const phone = participant('sip', { kind: 'sip', sipCallStatus: 'ringing' });
const started = { type: 'granted', startAtMs: 0, workerId: WORKER } as const;
const replaced = { profile: profile({ replace: true }) };
const level0 = () => Play.starting({ profile: profile({ protocol: 'none' }) }).on(1000, release);
const finished = roomEvent({ kind: 'finished', roomSid: 'RM_1', at: at(200) });
const metadata = { type: 'metadata', metadata: { lang: 'fr' } } as const;
const unrecorded = { type: 'spawn_failed', workerId: WORKER, detail: 'no', isUnrecorded: true } as const;
const open = { type: 'channel', workerId: WORKER, open: true } as const;
const left1 = { type: 'tree', workerId: WORKER, left: 1 } as const;

const inCall = (more: Parameters<typeof Play.live>[0] = {}) =>
  Play.live(more).on(100, look(100, [agent, ann]));
const crashed = () => inCall(replaced).on(200, exited(1));
const closing = () => inCall().on(1000, release);
const missedStart = () =>
  crashed()
    .on(210, gone())
    .on(1000, look(1000, [ann]))
    .on(25_000, look(25_000, [ann]));

/** Sessions with an absence that is due, in any phase. */
const inRoom = (session: () => Play) => ({
  room_finished: session()
    .on(100, look(100, [ann]))
    .on(200, finished)
    .on(210, look(150, [], { roomSid: null })).session,
  callers_left: session()
    .on(100, look(100, [agent, ann]))
    .on(200, left(200, ann, 'client_initiated')).session,
  not_answered: session().on(100, look(100, [phone])).session,
  no_caller_joined: session().on(100, look(100, [agent])).session,
});

/** One session in which each deadline is armed; null: it never is. A deadline without a sample does not compile. */
const SAMPLES: {
  readonly [P in PhaseName]: { readonly [K in keyof (typeof DEADLINE_TABLE)[P]]: Session | null };
} = {
  queued: { start: Play.queued().on(0, { ...started, assignedByMs: 3000 }).session },
  starting: {
    max_duration: Play.starting().session,
    start_timeout: Play.starting().session,
    start_again: Play.queued().on(0, started).on(10, unrecorded).session,
    ...inRoom(() => Play.starting()),
    completed: null,
    no_active_stream: null,
    agent_absent: null,
    configure: Play.starting().on(10, open).on(20, metadata).session,
  },
  live: {
    max_duration: inCall().session,
    start_timeout: crashed().on(210, gone()).until(3000).session,
    replace: crashed().on(210, gone()).session,
    'replace:spawning': missedStart().until(31_000).session,
    'replace:reap': crashed().session,
    'replace:term': inCall(replaced).on(200, says({ type: 'failed', message: 'no voice' })).session,
    'replace:term_rest': crashed().on(210, left1).session,
    'replace:kill': crashed().on(210, left1).until(10_300).session,
    'replace:confirm': crashed().on(210, left1).until(12_400).session,
    held: inCall({ idleAsked: true }).answering(false).until(130_000).session,
    ...inRoom(() => Play.live()),
    no_active_stream: inCall().on(200, look(200, [agent, participant('ann', { audioTracks: 0 })])).session,
    completed: inCall().on(200, left(200, agent, 'client_initiated')).session,
    agent_absent: Play.live()
      .on(1000, look(1000, [ann]))
      .on(2000, look(2000, [ann])).session,
    agent_session_failed: inCall().on(
      200,
      says({ type: 'agent_session', open: 0, closed: { reason: 'error', provider: 'llm' } }),
    ).session,
    errors_reset: inCall().on(200, says({ type: 'error', message: 'boom' })).session,
    max_duration_notice: inCall().session,
    error_limit: {
      ...inCall().session,
      errors: { consecutive: L.errorLimit, total: L.errorLimit, lastAt: at(200), last: 'boom' },
    },
    idle_timeout: inCall({ idleAsked: true }).session,
    unresponsive: inCall().session,
    configure: inCall().on(200, metadata).session,
  },
  closing: {
    'ladder:spawning': Play.queued().on(0, started).on(1000, release).session,
    'ladder:reconnecting': inCall()
      .on(900, { ...open, open: false })
      .on(1000, release).session,
    'ladder:aclose': closing().session,
    'ladder:disconnect': closing().on(1100, says({ type: 'closed' })).session,
    'ladder:reap': closing().on(1200, exited(0)).session,
    'ladder:term': level0().session,
    'ladder:term_rest': level0().until(10_100).session,
    'ladder:kill': level0().until(11_100).session,
    'ladder:confirm': level0().until(13_100).session,
    'ladder:remove_agent': level0().session,
    'ladder:close_room': level0().until(6100).session,
  },
  ended: {},
};

const STEP = 'the bound of the step; see the steps below';
/** The fact that arms each deadline, and for how long. */
const ARMED_BY: { readonly [K in DeadlineKind]: string } = {
  start: "admission grants it; the start rate paces it, and a job waits for LiveKit's assignment",
  max_duration: `the start of the first worker; \`max_duration\` (${text(L.maxDurationMs)})`,
  max_duration_notice: `the start of the first worker; ${text(DEADLINES.maxDurationNoticeMs)} before \`max_duration\``,
  start_timeout: `the start of a worker; \`start_timeout\` (${text(L.startTimeoutMs)})`,
  start_again: `the start could not be recorded; ${text(BACKOFF.unrecordedMs)}`,
  replace: 'the whole old tree is gone; the backoff, or the poll that the crash asked for',
  'replace:spawning': STEP,
  'replace:reap': STEP,
  'replace:term': STEP,
  'replace:term_rest': STEP,
  'replace:kill': STEP,
  'replace:confirm': STEP,
  held: `the mass-end budget holds an ending; ${text(DEADLINES.heldMs)}`,
  room_finished: 'LiveKit reports the end of the room, and no room of that sid is there; at once',
  completed: `our agent left the room; the \`callers_left\` of a phone (${text(L.phonesLeftMs)})`,
  callers_left: `no caller is left; \`callers_left\` (${text(L.phonesLeftMs)} for a phone, ${text(L.callersLeftMs)} for others) after a hang-up, \`callers_lost\` (${text(L.callersLostMs)}) after a lost connection`,
  not_answered: `a phone rings, or stopped before a caller was there; \`no_caller\` (${text(L.noCallerMs)}) and ${text(DEADLINES.ringingMs)}`,
  no_caller_joined: `the start of the first worker, until a caller was there; \`no_caller\` (${text(L.noCallerMs)})`,
  no_active_stream: `no caller has an audio track; \`no_active_stream\` (${text(L.noActiveStreamMs ?? 0)})`,
  agent_absent: `a caller is there and our agent is not, in ${DEADLINES.agentAbsentPolls} polls; \`agent_absent\` (${text(DEADLINES.agentAbsentMs)})`,
  agent_session_failed: `an error closed the last open AgentSession; ${text(DEADLINES.agentSessionFailedMs)} without another one`,
  errors_reset: `an error; ${text(DEADLINES.errorResetMs)} without another one`,
  error_limit: `\`error_limit\` (${L.errorLimit}) errors in a row while another ending was held; at once`,
  idle_timeout: `activity, or a dispatch that names it; \`idle_timeout\` (${text(L.activityIdleTimeoutMs)})`,
  unresponsive: `a heartbeat; \`heartbeat_stale\` (${text(DEADLINES.heartbeatStaleMs)}), and ${text(DEADLINES.dumpMs)} for the stacks`,
  configure: `metadata were sent; ${text(DEADLINES.configureAgainMs)} without an acknowledgement`,
  'ladder:spawning': STEP,
  'ladder:reconnecting': STEP,
  'ladder:aclose': STEP,
  'ladder:disconnect': STEP,
  'ladder:reap': STEP,
  'ladder:term': STEP,
  'ladder:term_rest': STEP,
  'ladder:kill': STEP,
  'ladder:confirm': STEP,
  'ladder:remove_agent': STEP,
  'ladder:close_room': STEP,
};

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)];
}

/** `outcome` says what a step changed and wants done. */
export function deadlineTables(outcome: (before: Session, next: Next) => string): string[] {
  const phases = ['queued', 'starting', 'live', 'closing'] as const;
  return [
    '## Deadlines',
    '',
    'From `src/core/session/deadline-table.ts`. `clock`: the deadline acts when its time has come. `poll`: the deadline only asks for a poll, and a later snapshot decides. The outcome is found on one sample. An ended session has no deadline.',
    '',
    ...phases.flatMap((phase) => [
      `### ${phase}`,
      '',
      ...table(
        ['deadline', 'armed by, and due after', 'decided by', 'in the API', 'what it does'],
        Object.entries(DEADLINE_TABLE[phase]).map(([kind, rule]) =>
          deadlineRow(phase, { kind: kind as DeadlineKind, rule, outcome }),
        ),
      ),
      '',
    ]),
  ];
}

function deadlineRow(
  phase: PhaseName,
  row: {
    kind: DeadlineKind;
    rule: unknown;
    outcome: (before: Session, next: Next) => string;
  },
): string[] {
  const rule = row.rule as DeadlineRule<PhaseName>;
  const sample = (SAMPLES[phase] as Readonly<Record<string, Session | null>>)[row.kind] ?? null;
  const dueMs = sample === null ? null : rule.armed(sample);
  if (sample !== null && dueMs === null) throw new Error(`the sample of ${phase}, ${row.kind} is not armed`);
  const does =
    sample === null
      ? 'never armed: no worker is ready'
      : row.outcome(sample, rule.on(sample, at(dueMs ?? 0)));
  return [row.kind, ARMED_BY[row.kind], rule.decidedBy, rule.shown ? 'shown' : '', does];
}

export function stepTables(): string[] {
  const head = ['step', 'bound', 'config key', 'effect', 'on timeout', 'in the evidence as'];
  const rows = (steps: Readonly<Record<string, StepRule<string>>>) =>
    Object.entries(steps)
      .filter(([step]) => step !== 'over')
      .map(([step, rule]) => [
        step,
        boundText(rule),
        rule.key ?? 'fixed',
        ACTIONS[rule.action],
        rule.onTimeout.replace('_', ' '),
        rule.recordedAs ?? '',
      ]);
  return [
    '## Steps of a teardown',
    '',
    'From `src/core/teardown/steps.ts`. The two tracks run side by side: the room begins beside the first step that does not wait for the worker. A session ends when both tracks are over.',
    '',
    '### The process',
    '',
    'The first step follows from the worker. A spawn under way begins at `spawning`, a lost connection at `reconnecting`, a connected worker at `aclose`. A worker that said `closed` or `failed` begins at `disconnect`, an exited one at `reap`, and any other at `term`. `give up` is the reason `unkillable`.',
    '',
    ...table(head, rows(STEPS)),
    '',
    '### The old worker of a replacement',
    '',
    '`give up` ends the session: as `start_timeout` after `spawning`, as `unkillable` after `confirm`.',
    '',
    ...table(
      head.slice(0, -1),
      rows(REPLACE_STEPS).map((row) => row.slice(0, -1)),
    ),
    '',
    '### The room',
    '',
    '`close_room` begins with a poll. Then `room_on_end` decides: the room is closed, kept, or kept and watched.',
    '',
    ...table(
      ['step', 'bound', 'config key', 'on timeout'],
      Object.entries(ROOM_STEPS).map(([step, rule]) => [
        step,
        text(rule.boundMs(DEFAULT_LADDER)),
        rule.key ?? 'fixed',
        rule.onTimeout,
      ]),
    ),
    '',
  ];
}

const ACTIONS: { readonly [A in StepRule<string>['action']]: string } = {
  none: '·',
  aclose: 'tell aclose',
  disconnect: 'tell disconnect',
  scan: 'reap: scan for what is left of the tree',
  'SIGTERM main': 'SIGTERM to the main process',
  SIGTERM: 'SIGTERM to each process that has had none',
  SIGKILL: 'SIGKILL to the tree',
};

function boundText({ boundMs }: StepRule<string>): string {
  const ms = boundMs(DEFAULT_LADDER);
  const wrapUpMs = boundMs(DEFAULT_LADDER, { wrapsUp: true });
  return ms === wrapUpMs ? text(ms) : `${text(ms)}; ${text(wrapUpMs)} where no caller is left`;
}

function text(ms: number): string {
  return ms % 3_600_000 === 0 ? `${ms / 3_600_000} h` : `${ms / 1000} s`;
}
