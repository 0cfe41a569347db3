/** The actions of people, LiveKit, workers and troubles in one run, with their times, made from a seed. */
import type { DisconnectReason } from '../../src/core/rooms/presence.ts';
import type { Traits } from './traits.ts';
import { makeDeploys, makeListeners, makeReturns, makeZygoteTroubles, traitsOf } from './traits.ts';
import type { DiskState } from './world/host.ts';
import type { ApiState } from './world/livekit.ts';
import { Random } from './world/random.ts';

export type WorkerDeed =
  | 'crash'
  | 'killed'
  | 'exit'
  | 'closed'
  | 'error'
  | 'ok'
  | 'activity'
  | 'hang'
  | 'drop'
  | 'leave'
  | 'memory'
  | 'fork'
  | 'shim_killed';

export type Deed =
  | {
      readonly do: 'dispatch';
      readonly room: number;
      readonly agent: string;
      readonly user: string | null;
      readonly id: string | null;
      readonly limits: Readonly<Record<string, number>>;
      /** LiveKit's own dispatch offers the call. */
      readonly asJob?: true;
    }
  | {
      readonly do: 'join';
      readonly room: number;
      readonly who: string;
      readonly phone: 'none' | 'ringing' | 'active';
      readonly mute: boolean;
      /** It may neither publish nor send data. */
      readonly listens?: true;
    }
  /** The permission to publish and to send data is given or taken. */
  | { readonly do: 'may_speak'; readonly room: number; readonly who: string; readonly may: boolean }
  | { readonly do: 'pick_up'; readonly room: number; readonly who: string }
  | { readonly do: 'mute' | 'unmute'; readonly room: number; readonly who: string }
  | { readonly do: 'leave'; readonly room: number; readonly who: string; readonly reason: DisconnectReason }
  | { readonly do: 'finish_room'; readonly room: number }
  | { readonly do: 'worker'; readonly room: number; readonly deed: WorkerDeed }
  | { readonly do: 'release' | 'keep_alive' | 'metadata'; readonly room: number }
  | { readonly do: 'crash'; readonly points: number; readonly downMs: number; readonly again: number | null }
  | { readonly do: 'wall'; readonly byMs: number }
  | { readonly do: 'suspend' | 'stall'; readonly forMs: number }
  /** A person drains the supervisor, and undoes it later. */
  | { readonly do: 'drain'; readonly forMs: number }
  | { readonly do: 'disk'; readonly state: DiskState; readonly forMs: number }
  | { readonly do: 'livekit'; readonly state: ApiState; readonly forMs: number }
  | { readonly do: 'reboot' }
  /** Kills every warm worker. */
  | { readonly do: 'warm_killed' }
  /** New code of the agents that are forked, with or without a new version in their profiles. */
  | { readonly do: 'reload'; readonly isNewVersion: boolean }
  /** Kills every zygote, or lets it grow beyond its bound. */
  | { readonly do: 'zygote_killed' | 'zygote_big' };

export type Action = Deed & { readonly atMs: number };

export interface Scenario {
  readonly seed: number;
  readonly rooms: number;
  /** How many workers of the agent `warm` are kept warm; 0: there is no such agent. */
  readonly warm: number;
  readonly traits: Traits;
  readonly limits: {
    readonly sessions: number;
    readonly perUser: number;
    readonly queue: number;
    readonly queueTimeoutMs: number;
    readonly startRatePerSecond: number;
  };
  readonly actions: readonly Action[];
  readonly lengthMs: number;
  /** A person releases all sessions, the supervisor stops in order or drains, or every session ends without a request. */
  readonly end: 'release' | 'stop' | 'drain' | 'by_itself';
}

const HOUR_MS = 3_600_000;
const AGENTS = ['default', 'keen', 'keen', 'plain', 'scribe'] as const;

export function makeScenario(seed: number): Scenario {
  const random = new Random(seed ^ 0x5eed);
  const rooms = random.pick([2, 4, 8, 16]);
  const lengthMs = random.between(200_000, 1_200_000);
  const actions: Action[] = [];
  const calls = random.below(rooms * 4) + 3;
  for (let call = 0; call < calls; call++) addCall(actions, random, { call, rooms, lengthMs });
  const troubles = random.chance(0.15) ? 0 : random.below(14);
  for (let count = 0; count < troubles; count++) addTrouble(actions, random, lengthMs);
  if (random.chance(0.12)) addMassSilence(actions, random, rooms, lengthMs);
  const fate = new Random(seed ^ 0x3a33);
  const warm = fate.chance(0.5) ? 1 + fate.below(3) : 0;
  const reloads = fate.chance(0.4) ? makeReloads(fate, { rooms, lengthMs, warm }) : [];
  const traits = traitsOf(seed);
  const listeners = makeListeners(seed, traits, { calls: [...actions, ...reloads], lengthMs });
  const troubled = makeZygoteTroubles(seed, traits, { calls: [...actions, ...reloads], lengthMs });
  const deploys = makeDeploys(seed, traits, lengthMs);
  return {
    seed,
    rooms,
    warm,
    traits,
    limits: {
      sessions: random.pick([3, 8, 30]),
      perUser: random.pick([1, 2]),
      queue: random.pick([0, 2, 10]),
      queueTimeoutMs: random.pick([5_000, 30_000]),
      startRatePerSecond: random.pick([0.5, 10]),
    },
    actions: actions
      .flatMap((one) => (warm === 0 ? one : warmed(one, fate)))
      .map((one) => helped(one, fate))
      .concat(reloads, listeners, makeReturns(seed, traits, { rooms, lengthMs }), troubled, deploys)
      .sort((a, b) => a.atMs - b.atMs),
    lengthMs,
    end: fate.chance(0.1) ? 'drain' : random.pick(['release', 'release', 'stop', 'by_itself']),
  };
}

/** Turns some calls into calls for the LiveKit agent. */
function helped(action: Action, fate: Random): Action {
  return action.do === 'dispatch' && fate.chance(0.35) ? { ...action, agent: 'helper' } : action;
}

/** Turns some calls into calls for the agent with warm workers, some by LiveKit's dispatch, some with a trouble at that moment. */
function warmed(action: Action, fate: Random): Action[] {
  if (action.do !== 'dispatch' || fate.chance(0.3)) return [action];
  const asJob = fate.chance(0.6) ? { asJob: true as const, id: action.id ?? `job-${fate.below(1e6)}` } : {};
  const call: Action = { ...action, agent: fate.chance(0.4) ? 'eager' : 'warm', ...asJob };
  const atMs = action.atMs + fate.between(0, 40);
  if (fate.chance(0.15)) return [call, { do: 'warm_killed', atMs }];
  if (!fate.chance(0.3)) return [call];
  const crash = {
    do: 'crash',
    points: fate.below(10),
    downMs: fate.between(500, 3_000),
    again: null,
  } as const;
  return [call, { ...crash, atMs: action.atMs + fate.between(0, 100) }];
}

/** Adds a dispatch, its callers, and the deeds of its worker. */
function addCall(
  actions: Action[],
  random: Random,
  { call, rooms, lengthMs }: { call: number; rooms: number; lengthMs: number },
): void {
  const room = random.below(rooms);
  const atMs = random.between(0, lengthMs * 0.9);
  const id = random.chance(0.4) ? `client-${call}` : null;
  const user = random.chance(0.6) ? `user-${random.below(4)}` : null;
  const dispatch: Deed = {
    do: 'dispatch',
    room,
    agent: random.pick(AGENTS),
    user,
    id,
    limits: limitsOf(random),
  };
  actions.push({ ...dispatch, atMs });
  if (random.chance(0.25)) actions.push({ ...dispatch, atMs: atMs + random.wait(500, 60_000) });
  if (random.chance(0.1))
    actions.push({ ...dispatch, agent: random.pick(AGENTS), id: null, atMs: atMs + random.wait(20, 30_000) });
  const callers = random.chance(0.12) ? 0 : random.chance(0.75) ? 1 : 2;
  for (let count = 0; count < callers; count++)
    addCaller(actions, random, { room, who: `caller-${call}-${count}`, atMs });
  for (let deeds = random.below(5); deeds > 0; deeds--) addDeed(actions, random, room, atMs);
  if (random.chance(0.3)) actions.push({ do: 'release', room, atMs: atMs + random.wait(20_000, 300_000) });
  if (random.chance(0.05)) actions.push({ do: 'finish_room', room, atMs: atMs + random.between(0, 200_000) });
}

function limitsOf(random: Random): Record<string, number> {
  return {
    ...(random.chance(0.3) ? { maxDurationMs: random.between(20_000, 300_000) } : {}),
    ...(random.chance(0.15) ? { activityIdleTimeoutMs: random.between(30_000, 90_000) } : {}),
    ...(random.chance(0.2) ? { errorLimit: 1 + random.below(4) } : {}),
    ...(random.chance(0.2) ? { noCallerMs: random.between(1_000, 60_000) } : {}),
  };
}

function addCaller(
  actions: Action[],
  random: Random,
  { room, who, atMs }: { room: number; who: string; atMs: number },
): void {
  const phone = random.pick(['none', 'none', 'ringing', 'active'] as const);
  let nowMs = atMs + random.wait(20_000, 100_000) - random.below(2) * 3_000;
  actions.push({ do: 'join', room, who, phone, mute: random.chance(0.1), atMs: nowMs });
  if (phone === 'ringing' && random.chance(0.6)) {
    nowMs += random.wait(15_000, 90_000);
    actions.push({ do: 'pick_up', room, who, atMs: nowMs });
  }
  if (random.chance(0.1))
    actions.push({ do: random.pick(['mute', 'unmute']), room, who, atMs: nowMs + random.between(0, 60_000) });
  for (let visits = random.chance(0.25) ? 2 : 1; visits > 0; visits--) {
    nowMs += random.wait(100_000, 900_000);
    const reason = random.pick([
      'client_initiated',
      'client_initiated',
      'signal_close',
      'connection_timeout',
    ] as const);
    actions.push({ do: 'leave', room, who, reason, atMs: nowMs });
    nowMs += random.wait(6_000, 40_000);
    if (visits > 1) actions.push({ do: 'join', room, who, phone: 'none', mute: false, atMs: nowMs });
  }
}

function addDeed(actions: Action[], random: Random, room: number, fromMs: number): void {
  const deed = random.pick([
    'crash',
    'crash',
    'killed',
    'exit',
    'closed',
    'error',
    'error',
    'error',
    'ok',
    'activity',
    'hang',
    'drop',
    'leave',
    'memory',
    'fork',
    'shim_killed',
  ] as const);
  const atMs = fromMs + random.wait(60_000, 400_000);
  // Errors and crashes come in rows, because the error limit counts errors in a row.
  const times = deed === 'error' || deed === 'crash' ? 1 + random.below(7) : 1;
  for (let count = 0; count < times; count++)
    actions.push({ do: 'worker', room, deed, atMs: atMs + count * random.wait(12_000, 90_000) });
  if (random.chance(0.2))
    actions.push({
      do: random.pick(['keep_alive', 'metadata']),
      room,
      atMs: atMs + random.wait(5_000, 50_000),
    });
}

function addTrouble(actions: Action[], random: Random, lengthMs: number): void {
  const atMs = random.between(0, lengthMs);
  const forMs = random.wait(20_000, 150_000);
  const kind = random.below(20);
  if (kind < 11)
    actions.push({
      do: 'crash',
      points: random.below(60),
      downMs: random.wait(3_000, 90_000),
      again: random.chance(0.4) ? random.below(25) : null,
      atMs,
    });
  else if (kind === 11)
    actions.push({ do: 'wall', byMs: random.pick([-3, 3]) * HOUR_MS * random.next(), atMs });
  else if (kind < 14) actions.push({ do: random.pick(['suspend', 'stall']), forMs, atMs });
  else if (kind < 17)
    actions.push({ do: 'disk', state: random.pick(['full', 'slow', 'hung'] as const), forMs, atMs });
  else if (kind < 19 || random.chance(0.8))
    actions.push({ do: 'livekit', state: random.pick(['slow', 'failing', 'hung'] as const), forMs, atMs });
  else actions.push({ do: 'reboot', atMs });
}

/** A caller that loads its page again and again. */
function makeReloads(
  fate: Random,
  { rooms, lengthMs, warm }: { rooms: number; lengthMs: number; warm: number },
): Action[] {
  const room = fate.below(rooms);
  const [who, id] = ['caller-reload', 'job-reload'];
  let atMs = fate.between(0, lengthMs / 2);
  const limits = fate.chance(0.3) ? { maxDurationMs: fate.between(60_000, 150_000) } : {};
  const call: Omit<Extract<Action, { do: 'dispatch' }>, 'agent' | 'id'> = {
    do: 'dispatch',
    room,
    user: null,
    limits,
    atMs,
  };
  const isJob = warm > 0 && fate.chance(0.6);
  const actions: Action[] = [
    isJob ? { ...call, agent: 'eager', id, asJob: true } : { ...call, agent: 'helper', id: null },
  ];
  if (fate.chance(0.25))
    actions.push({
      do: 'drain',
      forMs: fate.between(40_000, 120_000),
      atMs: atMs + fate.between(20_000, 90_000),
    });
  for (let visits = 3 + fate.below(9); visits > 0; visits--) {
    atMs += fate.chance(0.2) ? fate.between(1_000, 10_000) : fate.between(11_000, 32_000);
    actions.push({ do: 'join', room, who, phone: 'none', mute: false, atMs });
    atMs += visits === 1 ? fate.between(100_000, 200_000) : fate.between(12_000, 35_000);
    actions.push({ do: 'leave', room, who, reason: 'client_initiated', atMs });
    if (fate.chance(0.2)) actions.push({ do: 'release', room, atMs: atMs + fate.between(10_000, 25_000) });
  }
  return actions;
}

/** Adds many calls, and a LiveKit that suddenly answers with empty lists. */
function addMassSilence(actions: Action[], random: Random, rooms: number, lengthMs: number): void {
  const atMs = random.between(0, lengthMs / 2);
  for (let room = 0; room < rooms; room++) {
    actions.push({
      do: 'dispatch',
      room,
      agent: 'default',
      user: null,
      id: null,
      limits: {},
      atMs: atMs + room * 50,
    });
    actions.push({
      do: 'join',
      room,
      who: `mass-${room}`,
      phone: 'none',
      mute: false,
      atMs: atMs + 5_000 + room * 90,
    });
  }
  actions.push({
    do: 'livekit',
    state: 'blind',
    forMs: random.between(30_000, 100_000),
    atMs: atMs + 90_000,
  });
}
