/** The calls of the suite: what the agent does, what happens to the call, and what the suite waits for. */
import type { Way } from './ways.ts';

/** The script that the agent reads in the metadata of its job. */
export interface Script {
  readonly request?: {
    readonly do: 'accept' | 'reject' | 'raise';
    readonly name?: string;
    readonly identity?: string;
    readonly metadata?: string;
    readonly attributes?: Readonly<Record<string, string>>;
    /** Python: the argument of `reject`. */
    readonly terminate?: boolean;
  };
  readonly enter?: 'session' | 'nothing';
  readonly probes?: readonly string[];
  readonly raises?: string;
  readonly end?: string;
  readonly callbackMs?: number;
  /** The orders of the agent `production`. */
  readonly record?: true;
  readonly closed?: true;
  readonly last?: 'raise' | 'crash' | 'delete_room';
}

/** The event that the test causes, once the agent is there. */
export type Act =
  | 'hang_up'
  | 'delete_room'
  | 'remove_agent'
  | 'delete_dispatch'
  /** Under LiveKit a deleted dispatch is the nearest thing. */
  | 'release'
  /** A short maximum duration. Under LiveKit a deleted dispatch is the nearest thing. */
  | 'max_duration'
  | 'term_main'
  /** The caller leaves and joins again, and hangs up later. */
  | 'reload'
  /** curfew's supervisor is killed and started again. LiveKit's runner has none. The caller hangs up later. */
  | 'kill_supervisor'
  | 'restart_livekit'
  /** Nothing happens for a while, or until the next agent is there. The caller hangs up later. */
  | 'wait'
  | 'none';

export interface Scenario {
  readonly name: string;
  readonly script: Script;
  readonly act: Act;
  /** The observation after which the act begins. */
  readonly after?: string;
  /** The observation after which the suite looks into the room. Absent: as `after`. */
  readonly lookAfter?: string;
  /** The ways in which another agent takes the call over. */
  readonly next?: readonly Way[];
  /** The seconds for which LiveKit keeps the room after its last caller. Absent: 2. */
  readonly roomStaysS?: number;
  /** false: no job begins, so no process ends. */
  readonly hasJob?: false;
  /** It is played after the others of its version, because it ends what they use. */
  readonly alone?: true;
  /** No process of the agent gets ready for a job: its prewarm function raises. */
  readonly prewarmRaises?: true;
  /** The job's process dies, and LiveKit keeps its participant for a while. */
  readonly dies?: true;
  /** A file of test/conformance/agents, without its extension. Absent: observer. */
  readonly file?: string;
  /** Absent: a standard participant. */
  readonly callerKind?: string;
  /** Absent: every way. */
  readonly ways?: readonly Way[];
  /** Absent: both. */
  readonly only?: 'py' | 'js';
}

const PROBES = [
  'list_participants',
  // Before the list, which names it.
  'other_room',
  'list_rooms',
  'update_metadata',
  'egress',
  'sip',
  'list_dispatches',
  'avatar',
];
const BY_DISPATCH: readonly Way[] = ['livekit', 'dispatch-cold', 'dispatch-warm', 'dispatch-forked'];
const ACCEPT = {
  do: 'accept',
  name: 'Ada',
  identity: 'ada-the-agent',
  metadata: 'of the agent',
  attributes: { mood: 'good' },
} as const;

const raises = (where: string, end?: string): Scenario => ({
  name: `raises_${where}`,
  script: { enter: 'session', raises: where, ...(end === undefined ? {} : { end }) },
  act: 'none',
  after: 'entry',
});

export const SCENARIOS: readonly Scenario[] = [
  { name: 'plain', script: { probes: PROBES }, act: 'hang_up', after: 'returned' },
  { name: 'hang_up', script: { enter: 'session', callbackMs: 1500 }, act: 'hang_up', after: 'returned' },
  { name: 'accept', script: { request: ACCEPT, end: 'shutdown' }, act: 'none', after: 'room' },
  { name: 'reject', script: { request: { do: 'reject' } }, act: 'none', after: 'request', hasJob: false },
  {
    name: 'reject_for_others',
    script: { request: { do: 'reject', terminate: false } },
    act: 'none',
    after: 'request',
    hasJob: false,
    only: 'py',
  },
  {
    name: 'request_raises',
    script: { request: { do: 'raise' } },
    act: 'none',
    after: 'request',
    hasJob: false,
  },
  {
    name: 'shutdown',
    script: { enter: 'session', end: 'shutdown', callbackMs: 1500 },
    act: 'none',
    after: 'ends',
  },
  {
    name: 'agent_deletes_room',
    script: { enter: 'session', end: 'api_delete_room', callbackMs: 1500 },
    act: 'none',
    after: 'ends',
  },
  { name: 'agent_disconnects', script: { end: 'disconnect' }, act: 'none', after: 'ends' },
  {
    name: 'session_closes',
    script: { enter: 'session', end: 'close_session' },
    act: 'hang_up',
    after: 'returned',
  },
  {
    name: 'room_deleted',
    script: { enter: 'session', callbackMs: 1500 },
    act: 'delete_room',
    after: 'returned',
  },
  {
    name: 'agent_removed',
    script: { enter: 'session', callbackMs: 1500 },
    act: 'remove_agent',
    after: 'returned',
  },
  {
    name: 'dispatch_deleted',
    script: { enter: 'session', callbackMs: 1500 },
    act: 'delete_dispatch',
    after: 'returned',
    ways: BY_DISPATCH,
  },
  { name: 'release', script: { enter: 'session', callbackMs: 1500 }, act: 'release', after: 'returned' },
  {
    name: 'max_duration',
    script: { enter: 'session', callbackMs: 1500 },
    act: 'max_duration',
    after: 'returned',
  },
  {
    name: 'returns_unconnected',
    script: { enter: 'nothing' },
    act: 'delete_dispatch',
    after: 'returned',
    ways: BY_DISPATCH,
  },
  raises('before_connect'),
  raises('after_connect'),
  raises('on_enter', 'shutdown'),
  raises('on_exit', 'shutdown'),
  raises('on_session_end', 'shutdown'),
  raises('shutdown_callback', 'shutdown'),
  { name: 'raises_event_handler', script: { raises: 'event_handler' }, act: 'hang_up', after: 'returned' },
  {
    name: 'prewarm_raises',
    script: {},
    act: 'hang_up',
    after: 'request',
    hasJob: false,
    prewarmRaises: true,
    ways: ['livekit', 'http-cold', 'dispatch-cold'],
  },
  { name: 'exit', script: { end: 'exit' }, act: 'hang_up', after: 'ends', dies: true },
  { name: 'killed', script: { end: 'kill' }, act: 'hang_up', after: 'ends', dies: true },
  {
    name: 'term_main',
    script: { enter: 'session', callbackMs: 1500 },
    act: 'term_main',
    after: 'returned',
  },
];
