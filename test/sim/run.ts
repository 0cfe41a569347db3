/** Plays one scenario from its first event to the last check. */
import { deadlines } from '../../src/core/session/deadlines.ts';
import { messageOf } from '../../src/lib/errors.ts';
import { checkAfterEvent, checkAtEnd } from './checks/invariants.ts';
import type { Action, Scenario } from './scenario.ts';
import { makeScenario } from './scenario.ts';
import { Sim } from './sim.ts';
import type { Run } from './world/host.ts';
import type { Place, Violation } from './world/world.ts';

export interface Outcome {
  readonly seed: number;
  readonly events: number;
  readonly sessions: number;
  readonly lives: number;
  readonly reasons: Readonly<Record<string, number>>;
  readonly violation: Violation | null;
  readonly trace: readonly string[];
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** The longest maximum duration, a teardown and a margin: by then a world that was left alone is empty. */
const CALM_MS = 1_500_000;
const STOP_MS = 300_000;
/** A process may be stuck for 400 s. The next cleanup after that finds it. */
const EMPTY_MS = 750_000;
/** A session that is just being admitted is known by then. */
const ADMITTED_MS = 15_000;
const MAX_EVENTS = 400_000;

interface RunOptions {
  readonly tracing?: boolean;
  /** Stops after this many events, without the checks at the end. */
  readonly maxEvents?: number;
}

export function runSeed(seed: number, options: RunOptions = {}): Promise<Outcome> {
  return runScenario(makeScenario(seed), options);
}

export async function runScenario(
  scenario: Scenario,
  { tracing = false, maxEvents = Number.POSITIVE_INFINITY }: RunOptions = {},
): Promise<Outcome> {
  const sim = new Sim(scenario, tracing);
  const onRejection = (error: unknown) =>
    sim.world.fail('every-wait-has-a-bound: every rejection is handled', messageOf(error));
  process.on('unhandledRejection', onRejection);
  try {
    return await runSim(sim, maxEvents);
  } finally {
    process.off('unhandledRejection', onRejection);
  }
}

async function runSim(sim: Sim, maxEvents: number): Promise<Outcome> {
  const { scenario } = sim;
  sim.boot();
  for (const action of scenario.actions)
    sim.world.after(action.atMs, {
      place: placeOf(action),
      what: textOf(action),
      run: () => act(sim, action),
    });
  await play(sim, scenario.lengthMs, () => sim.world.events >= maxEvents);
  if (sim.world.violation === null && sim.world.events < maxEvents) await end(sim);
  const reasons: Record<string, number> = {};
  for (const { ending } of sim.ledger.cases.values())
    if (ending !== null) reasons[ending.reason] = (reasons[ending.reason] ?? 0) + 1;
  const { world, ledger, lives } = sim;
  if (sim.generation !== null) sim.generation.life.alive = false;
  return {
    seed: scenario.seed,
    events: world.events,
    sessions: ledger.cases.size,
    lives,
    reasons,
    violation: world.violation,
    trace: world.trace,
  };
}

/** A request waits in the socket while the supervisor is suspended. */
function placeOf(action: Action): Place {
  switch (action.do) {
    case 'dispatch':
    case 'release':
    case 'keep_alive':
    case 'metadata':
    case 'drain':
    case 'reload':
      return 'supervisor';
    case 'worker':
      return 'host';
    default:
      return 'cloud';
  }
}

function textOf({ atMs: _, ...deed }: Action): string {
  return `ACTION ${JSON.stringify(deed)}`;
}

/** The checks run after each event, when all microtasks and immediates of that event are over. */
async function play(sim: Sim, untilMs: number, done: () => boolean = () => false): Promise<void> {
  const { world } = sim;
  while (world.nextMs() <= untilMs && world.violation === null && !done()) {
    if (!world.step()) return;
    await turn();
    checkAfterEvent(sim);
    if (world.events > MAX_EVENTS)
      world.fail('every-wait-has-a-bound: a run becomes quiet', `${world.events} events; ${dueNow(sim)}`);
  }
}

/** The troubles end. Then every session must end, and the world must become empty. */
async function end(sim: Sim): Promise<void> {
  const { world, scenario } = sim;
  sim.host.disk = 'ok';
  sim.disk.state = 'ok';
  sim.livekit.api = 'ok';
  sim.calm();
  await play(sim, world.nowMs + 60_000);
  await play(sim, world.nowMs + STOP_MS, () => sim.serving !== null);
  // A request can reach only a host that is not suspended.
  await play(sim, Math.max(world.nowMs, world.suspendedUntilMs('supervisor')) + 1);
  let stopped = scenario.end !== 'stop';
  if (scenario.end === 'release') {
    sim.releaseAll();
    await play(sim, world.nowMs + ADMITTED_MS);
    sim.releaseAll();
  }
  if (scenario.end === 'drain') sim.drain();
  if (scenario.end === 'stop')
    sim.stop(STOP_MS).then(
      () => {
        stopped = true;
      },
      () => undefined,
    );
  const untilMs = world.nowMs + (endsByItself(scenario) ? CALM_MS : EMPTY_MS);
  await play(sim, untilMs, () => stopped && isEmpty(sim) && scenario.end !== 'by_itself');
  if (world.violation !== null) return;
  if (!stopped)
    world.fail('every-wait-has-a-bound: a stop ends within its bound', `not over after ${STOP_MS} ms`);
  await play(sim, world.nowMs + 10_000);
  checkAtEnd(sim);
}

/** No request ends a session. */
function endsByItself({ end }: Scenario): boolean {
  return end === 'by_itself' || end === 'drain';
}

function isEmpty({ host, serving }: Sim): boolean {
  return (
    [...host.alive].every((one) => one.spec === null) &&
    (serving?.supervisor.sessions.all().length ?? 0) === 0
  );
}

function act(sim: Sim, action: Action): void {
  const { world, livekit, ledger } = sim;
  switch (action.do) {
    case 'dispatch': {
      const { room, agent, user, id, limits, asJob } = action;
      if (asJob === true) {
        sim.offer({ id: id ?? '', agentName: agent, room: roomName(room) });
        return;
      }
      const whole = Object.fromEntries(
        Object.entries(limits).map(([key, value]) => [key, Math.round(value)]),
      );
      sim.dispatch({
        room: roomName(room),
        agent,
        ...(user === null ? {} : { user }),
        ...(id === null ? {} : { id }),
        metadata: { secret: 'metadata-marker' },
        limits: whole,
      });
      return;
    }
    case 'join':
      livekit.join(roomName(action.room), {
        identity: action.who,
        kind: action.phone === 'none' ? 'standard' : 'sip',
        audioTracks: action.mute ? 0 : 1,
        ...(action.listens === true && { listens: true }),
        ...(action.phone === 'none' ? {} : { sipCallStatus: action.phone }),
      });
      return;
    case 'pick_up':
      livekit.change(roomName(action.room), action.who, { sipCallStatus: 'active' });
      return;
    case 'mute':
    case 'unmute':
      livekit.change(roomName(action.room), action.who, { audioTracks: action.do === 'mute' ? 0 : 1 });
      return;
    case 'may_speak':
      livekit.permit(roomName(action.room), action.who, action.may);
      return;
    case 'leave': {
      const person = livekit.room(roomName(action.room))?.people.get(action.who);
      if (person !== undefined) livekit.leave(roomName(action.room), person.sid, action.reason);
      return;
    }
    case 'finish_room':
      livekit.finish(roomName(action.room), 'room_closed');
      return;
    case 'release':
    case 'keep_alive':
    case 'metadata':
      for (const { id, spec, wanted, acknowledged } of ledger.cases.values())
        if (
          spec.room.name === roomName(action.room) &&
          (wanted.phase.name !== 'ended' || action.do === 'release') &&
          (acknowledged || spec.clientId || spec.unasked === true)
        ) {
          if (action.do === 'release') sim.release(id);
          else if (action.do === 'keep_alive') sim.keepAlive(id);
          else sim.setMetadata(id);
        }
      return;
    case 'worker': {
      const run = [...sim.host.alive].find(
        (one) => one.spec?.room.name === roomName(action.room) && one.main?.alive === true,
      );
      if (run !== undefined) befall(sim, run, action);
      return;
    }
    case 'crash':
      sim.crash(action);
      return;
    case 'reboot':
      sim.reboot();
      return;
    case 'warm_killed':
      for (const run of sim.host.alive)
        if (run.spec === null) sim.agents.get(run.id)?.end({ code: 1, signal: null });
      return;
    case 'zygote_killed':
      sim.killZygotes();
      return;
    case 'reload':
      sim.reload(action.isNewVersion);
      return;
    case 'zygote_big':
      sim.growZygotes();
      return;
    case 'wall':
      world.jumpWall(action.byMs);
      return;
    case 'suspend':
      world.suspend('host', action.forMs);
      world.suspend('supervisor', action.forMs);
      return;
    case 'stall':
      world.suspend('supervisor', action.forMs);
      return;
    case 'drain':
      sim.drain();
      world.after(action.forMs, {
        place: 'supervisor',
        what: 'the drain is undone',
        run: () => sim.undrain(),
      });
      return;
    case 'disk':
      sim.setDisk(action.state, action.forMs);
      return;
    case 'livekit':
      sim.setLiveKit(action.state, action.forMs);
      return;
  }
}

function roomName(room: number): string {
  return `+4930-${room}`;
}

function befall(sim: Sim, run: Run, { deed }: Extract<Action, { do: 'worker' }>): void {
  const agent = sim.agents.get(run.id);
  if (agent === undefined) return;
  switch (deed) {
    case 'crash':
      agent.end({ code: 1, signal: null });
      return;
    case 'killed':
      agent.end({ code: null, signal: 'SIGSEGV' });
      return;
    case 'exit':
      agent.end({ code: 0, signal: null });
      return;
    case 'closed':
      if (agent.isLiveKit) agent.thrownOut();
      else agent.say({ type: 'closed' });
      return;
    case 'error':
      agent.say({ type: 'error', message: 'caller-text of no concern' });
      return;
    case 'ok':
      agent.say({ type: 'ok' });
      return;
    case 'activity':
      agent.say({ type: 'activity', kind: 'caller_speech' });
      return;
    case 'hang':
      agent.hung = true;
      return;
    case 'drop':
      agent.dropConnection();
      return;
    case 'leave':
      agent.leaveRoom();
      return;
    case 'memory':
      sim.useMemory(run);
      return;
    case 'fork':
      sim.host.fork(run);
      return;
    case 'shim_killed':
      sim.host.killShim(run);
      return;
  }
}

/** The sessions with a deadline in the past, as JSON. They make the supervisor wake up without pause. */
function dueNow({ serving, world }: Sim): string {
  const all = serving?.supervisor.sessions.all() ?? [];
  const due = all.flatMap((session) =>
    deadlines(session)
      .filter((one) => one.atMs <= world.bootMs)
      .map((one) => ({
        id: session.spec.id,
        phase: session.phase,
        vitals: session.vitals,
        config: session.config,
        ...one,
      })),
  );
  return JSON.stringify(due);
}
