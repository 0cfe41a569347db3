/** Traits that only a part of the runs has: participants that only listen, jobs that end slowly, no replacement. */
import type { Action, Deed } from './scenario.ts';
import { Random } from './world/random.ts';

export interface Traits {
  /** `none`: there are no listeners. Else the setting of `callers.listeners`. */
  readonly listeners: 'none' | 'ignore' | 'count';
  /** A main process that gets SIGTERM waits for its job. Tools and callbacks of a job that ends can take half a minute. */
  readonly isPatient: boolean;
  /** false: no profile replaces a crashed worker. */
  readonly replaces: boolean;
}

interface Share {
  readonly of: number;
  /** Because: with this number the found seeds in sim.test.ts lack the trait, and play what they played before. */
  readonly salt: number;
}

const LISTENERS: Share = { of: 0.4, salt: 0x2_47_3f };
const PATIENT: Share = { of: 0.5, salt: 0x64_bf_e0d };
const ONCE: Share = { of: 0.15, salt: 0x2d };

export function traitsOf(seed: number): Traits {
  const has = ({ of, salt }: Share) => new Random(seed ^ salt).chance(of);
  return {
    listeners: !has(LISTENERS) ? 'none' : seed % 3 === 0 ? 'count' : 'ignore',
    isPatient: has(PATIENT),
    replaces: !has(ONCE),
  };
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
