/** The steps of a teardown as data. The replacement of a worker uses the same steps. The warm pool and a cleanup share TERM and KILL. */
import type { LadderBounds } from '../../lib/limits/session-limits.ts';
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { ProcessStep, RoomStep, StepName } from '../model/session.ts';

/** Each action may be repeated without harm. `scan`: finds the rest of the tree. `SIGTERM main`: to the main process alone. */
export type StepAction = 'none' | 'aclose' | 'disconnect' | 'scan' | 'SIGTERM main' | 'SIGTERM' | 'SIGKILL';

export interface StepRule<S extends string> {
  readonly boundMs: (ladder: LadderBounds, asked?: { readonly wrapsUp: boolean }) => number;
  /** Where the bound comes from: a key of the config, or null: it is fixed. */
  readonly key: string | null;
  readonly action: StepAction;
  /** The next step when the bound is over. `give_up`: nothing more can be done. */
  readonly onTimeout: S | 'give_up';
  /** The step that the API shows for it; null: none. */
  readonly recordedAs: StepName | null;
  /** Whether the worker ends without a signal. */
  readonly isGraceful: boolean;
  /** Whether the room's track waits for the end of this step, or until a LiveKit agent has left the room. */
  readonly roomWaits: boolean;
}

export const STEPS: { readonly [S in ProcessStep]: StepRule<ProcessStep> } = {
  spawning: {
    boundMs: () => DEADLINES.spawnMs,
    key: null,
    action: 'none',
    onTimeout: 'term',
    recordedAs: null,
    isGraceful: false,
    roomWaits: true,
  },
  reconnecting: {
    boundMs: () => DEADLINES.reconnectMs,
    key: null,
    action: 'none',
    onTimeout: 'term',
    recordedAs: null,
    isGraceful: true,
    roomWaits: true,
  },
  aclose: {
    boundMs: ({ acloseMs, wrapUpMs }, asked) => (asked?.wrapsUp ? Math.max(wrapUpMs, acloseMs) : acloseMs),
    key: 'ladder.aclose, wrap_up',
    action: 'aclose',
    onTimeout: 'disconnect',
    recordedAs: 'aclose',
    isGraceful: true,
    roomWaits: true,
  },
  disconnect: {
    boundMs: ({ disconnectMs }) => disconnectMs,
    key: 'ladder.disconnect',
    action: 'disconnect',
    onTimeout: 'term',
    recordedAs: 'disconnect',
    isGraceful: true,
    roomWaits: true,
  },
  reap: {
    boundMs: () => DEADLINES.reapMs,
    key: null,
    action: 'scan',
    onTimeout: 'term',
    recordedAs: null,
    isGraceful: false,
    roomWaits: false,
  },
  // Because: a main process ends its children in its own order, and a wrapper passes the signal on. A second TERM would cut that.
  term: {
    boundMs: ({ termMs }) => termMs - restOfTermMs(termMs),
    key: 'ladder.term',
    action: 'SIGTERM main',
    onTimeout: 'term_rest',
    recordedAs: 'term',
    isGraceful: false,
    roomWaits: false,
  },
  // The descendants of a main process that is gone, or of a wrapper that traps TERM. Each process that has had no TERM gets one.
  term_rest: {
    boundMs: ({ termMs }) => termMs,
    key: 'ladder.term',
    action: 'SIGTERM',
    onTimeout: 'kill',
    recordedAs: 'term',
    isGraceful: false,
    roomWaits: false,
  },
  kill: {
    boundMs: ({ killMs }) => killMs,
    key: 'ladder.kill',
    action: 'SIGKILL',
    onTimeout: 'confirm',
    recordedAs: 'kill',
    isGraceful: false,
    roomWaits: false,
  },
  // Race: the host can have been suspended since the bound of KILL. A scan made afterwards decides whether the tree lives.
  confirm: {
    boundMs: () => DEADLINES.confirmMs,
    key: null,
    action: 'scan',
    onTimeout: 'give_up',
    recordedAs: 'kill',
    isGraceful: false,
    roomWaits: false,
  },
  over: {
    boundMs: () => 0,
    key: null,
    action: 'none',
    onTimeout: 'over',
    recordedAs: null,
    isGraceful: false,
    roomWaits: false,
  },
};

export type ReplaceStep = Extract<
  ProcessStep,
  'spawning' | 'reap' | 'term' | 'term_rest' | 'kill' | 'confirm'
>;

/** The old worker of a replacement is never asked. Its call goes on, so a scan has as long as TERM, and a spawn that hangs ends the session. */
export const REPLACE_STEPS: { readonly [S in ReplaceStep]: StepRule<ProcessStep> } = {
  spawning: { ...STEPS.spawning, onTimeout: 'give_up' },
  reap: { ...STEPS.reap, boundMs: STEPS.term_rest.boundMs, key: STEPS.term_rest.key },
  term: STEPS.term,
  term_rest: STEPS.term_rest,
  kill: STEPS.kill,
  confirm: STEPS.confirm,
};

type RoomAction = Exclude<RoomStep, 'waiting' | 'over'>;

export const ROOM_STEPS: {
  readonly [S in RoomAction]: Pick<StepRule<RoomStep>, 'boundMs' | 'key' | 'onTimeout'>;
} = {
  remove_agent: {
    boundMs: ({ removeAgentMs }) => removeAgentMs,
    key: 'ladder.remove_agent',
    onTimeout: 'close_room',
  },
  close_room: {
    boundMs: ({ closeRoomMs }) => closeRoomMs,
    key: 'ladder.close_room',
    onTimeout: 'over',
  },
};

/** The last part of TERM's bound, in which the rest of the tree has its TERM. */
export function restOfTermMs(termMs: number): number {
  return Math.min(DEADLINES.termRestMs, termMs / 2);
}

/** The signals that end a tree which is not asked, each with its time. `term`: to the main process; `rest`: to the others. */
export function terminateSteps({ termMs, killMs }: Pick<LadderBounds, 'termMs' | 'killMs'>) {
  return {
    term: { signal: 'SIGTERM', boundMs: termMs - restOfTermMs(termMs) },
    rest: { signal: 'SIGTERM', boundMs: restOfTermMs(termMs) },
    kill: { signal: 'SIGKILL', boundMs: killMs },
  } as const;
}

/** The sum of the bounds of a teardown that goes through every step. */
export function longestTeardownMs(ladder: LadderBounds): number {
  const sum = (...steps: readonly ProcessStep[]) =>
    steps.reduce((totalMs, step) => totalMs + STEPS[step].boundMs(ladder, { wrapsUp: true }), 0);
  const room = ROOM_STEPS.remove_agent.boundMs(ladder) + ROOM_STEPS.close_room.boundMs(ladder);
  const asked = sum('spawning', 'reconnecting', 'aclose', 'disconnect');
  return asked + Math.max(sum('reap', 'term_rest', 'kill', 'confirm'), room);
}
