/** Traits that only a part of the runs has, such as listeners, jobs that end slowly, or two agents in one room. */
import type { Action, Deed } from './scenario.ts';
import { Random } from './world/random.ts';

export interface Traits {
  /** `none`: there are no listeners. Else the setting of `callers.listeners`. */
  readonly listeners: 'none' | 'ignore' | 'count';
  /** A main process that gets SIGTERM waits for its job. Tools and callbacks of a job that ends can take half a minute. */
  readonly isPatient: boolean;
  /** false: no profile replaces a crashed worker. */
  readonly replaces: boolean;
  /** Two LiveKit agents share rooms, each with a claim of its own. */
  readonly shares: boolean;
  /** LiveKit answers with empty lists for some seconds. */
  readonly blinks: boolean;
  /** LiveKit agents are forked from zygotes. */
  readonly preforks: boolean;
  /** Silence ends a call after a time that a start may need. */
  readonly isImpatient: boolean;
}

interface Share {
  readonly of: number;
  /** Because: with this number the seeds that were found before the trait lack it, and play what they played. */
  readonly salt: number;
}

const LISTENERS: Share = { of: 0.4, salt: 0x2_47_3f };
const PATIENT: Share = { of: 0.5, salt: 0x64_bf_e0d };
const ONCE: Share = { of: 0.15, salt: 0x2d };
const SHARING: Share = { of: 0.3, salt: 0xcb_22 };
const BLINKING: Share = { of: 0.35, salt: 0x2_ff_94 };
const PREFORKS: Share = { of: 0.33, salt: 0x25_17_9f };
const IMPATIENT: Share = { of: 0.2, salt: 0x3_6b_7a };

export function traitsOf(seed: number): Traits {
  const has = ({ of, salt }: Share) => new Random(seed ^ salt).chance(of);
  return {
    listeners: !has(LISTENERS) ? 'none' : seed % 3 === 0 ? 'count' : 'ignore',
    isPatient: has(PATIENT),
    replaces: !has(ONCE),
    shares: has(SHARING),
    blinks: has(BLINKING),
    preforks: has(PREFORKS),
    isImpatient: has(IMPATIENT),
  };
}

/** Callers that leave, and return for longer, in rooms of their own: to two agents, or after empty lists. */
export function makeReturns(
  seed: number,
  { shares, blinks }: Traits,
  { rooms, lengthMs }: { readonly rooms: number; readonly lengthMs: number },
): Action[] {
  const actions: Action[] = [];
  if (!shares && !blinks) return actions;
  const fate = new Random(seed ^ 0xe87a5);
  for (let room = rooms; room < rooms + 3; room++) {
    const atMs = fate.between(0, lengthMs / 2);
    const call = { do: 'dispatch', room, user: null, id: null, limits: {} } as const;
    const caller = { room, who: `caller-back-${room}` };
    const visit = (joinMs: number, leaveMs: number): Action[] => [
      { do: 'join', ...caller, phone: 'none', mute: false, atMs: joinMs },
      { do: 'leave', ...caller, reason: 'client_initiated', atMs: leaveMs },
    ];
    const leftMs = atMs + fate.between(30_000, 70_000);
    const backMs = leftMs + fate.between(18_000, 40_000);
    actions.push({ ...call, agent: 'helper', atMs });
    if (shares) actions.push({ ...call, agent: 'second', atMs: atMs + fate.between(0, 3_000) });
    actions.push(...visit(atMs + fate.between(3_000, 15_000), leftMs), ...visit(backMs, backMs + 150_000));
    if (blinks)
      actions.push({
        do: 'livekit',
        state: 'blind',
        forMs: fate.between(2_000, 8_000),
        atMs: leftMs + fate.between(12_000, 18_000),
      });
  }
  return actions;
}

/** Participants that only listen, beside the callers of some calls and after them. */
export function makeListeners(
  seed: number,
  { listeners }: Traits,
  { calls, lengthMs }: { readonly calls: readonly Action[]; readonly lengthMs: number },
): Action[] {
  if (listeners === 'none') return [];
  const fate = new Random(seed ^ 0x1157e9);
  return calls.flatMap((call, index) =>
    call.do === 'dispatch' && fate.chance(0.5)
      ? visit(fate, { call, who: `listener-${index}`, lengthMs })
      : [],
  );
}

function visit(
  fate: Random,
  {
    call,
    who,
    lengthMs,
  }: { call: Extract<Deed, { do: 'dispatch' }> & Action; who: string; lengthMs: number },
): Action[] {
  const { room } = call;
  const fromMs = Math.max(0, call.atMs + fate.between(-10_000, 60_000));
  const actions: Action[] = [
    { do: 'join', room, who, phone: 'none', mute: true, listens: true, atMs: fromMs },
  ];
  if (fate.chance(0.15)) {
    const atMs = fromMs + fate.between(5_000, 100_000);
    actions.push({ do: 'may_speak', room, who, may: true, atMs });
    if (fate.chance(0.5))
      actions.push({ do: 'may_speak', room, who, may: false, atMs: atMs + fate.between(5_000, 100_000) });
  }
  if (fate.chance(0.4)) return actions;
  const untilMs = Math.min(lengthMs, fromMs + fate.wait(120_000, 500_000));
  actions.push({ do: 'leave', room, who, reason: 'client_initiated', atMs: untilMs });
  if (fate.chance(0.4))
    actions.push({ ...actions[0], atMs: untilMs + fate.between(1_000, 60_000) } as Action);
  return actions;
}

/** Zygotes are killed or grow too big, some at the moment of a call. */
export function makeZygoteTroubles(
  seed: number,
  { preforks }: Traits,
  { calls, lengthMs }: { readonly calls: readonly Action[]; readonly lengthMs: number },
): Action[] {
  if (!preforks) return [];
  const fate = new Random(seed ^ 0x2_19_07e);
  const atCalls = calls.flatMap((call): Action[] =>
    call.do === 'dispatch' && fate.chance(0.12)
      ? [{ do: 'zygote_killed', atMs: call.atMs + fate.wait(100, 2_500) }]
      : [],
  );
  const others = Array.from(
    { length: fate.below(4) },
    (): Action => ({
      do: fate.chance(0.7) ? 'zygote_killed' : 'zygote_big',
      atMs: fate.between(0, lengthMs),
    }),
  );
  return [...atCalls, ...others];
}

/** New code of the agents that are forked. Some deploys follow the one before at once, or come while calls begin. */
export function makeDeploys(seed: number, { preforks }: Traits, lengthMs: number): Action[] {
  const fate = new Random(seed ^ 0x5_de_91);
  if (!preforks || fate.chance(0.3)) return [];
  return Array.from({ length: 1 + fate.below(3) }, () => fate.between(0, lengthMs)).flatMap(
    (atMs): Action[] => {
      const deploy: Action = { do: 'reload', isNewVersion: fate.chance(0.5), atMs };
      const again: Action = {
        do: 'reload',
        isNewVersion: fate.chance(0.5),
        atMs: atMs + fate.wait(3_000, 20_000),
      };
      return fate.chance(0.3) ? [deploy, again] : [deploy];
    },
  );
}
