/** The calls of a host before its upgrade: some in each state, and a live one of each protocol. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { until } from '../support/lib/wait.ts';
import { AGENTS } from './agents.ts';
import type { Host, Seat } from './host.ts';

/** Ids of three sessions. A signal of the test ends the worker of each. */
interface Short {
  readonly exits0: string;
  readonly exits7: string;
  readonly killed: string;
}

export interface Calls {
  /** Ids by profile. */
  readonly live: ReadonlyMap<string, string>;
  readonly closing: ReadonlyMap<string, string>;
  /** The live call of profile `none` holds the only slot of the user. */
  readonly queued: string;
  /** The workers of these sessions end while no supervisor runs. */
  readonly short: Short;
  readonly ended: readonly string[];
  /** The last list that the previous release printed, by id. */
  readonly before: ReadonlyMap<string, SessionView>;
  /** The agents of the live and the closing calls, by room. */
  readonly seats: ReadonlyMap<string, Seat>;
  /** The processes of the workers that wait for a call. */
  readonly warmPids: readonly number[];
}

const USER = { user: 'ann' };
const REASON = 'an operator asked';

/** `closing`: one call of each of these profiles is closing. */
export async function makeCalls(host: Host, closing: readonly string[]): Promise<Calls> {
  const [ended, live, closed, short] = await Promise.all([
    makeEnded(host),
    makeLive(host),
    makeClosing(host, closing),
    makeShort(host, 'short'),
  ]);
  await host.poolsAreFull();
  const { id: queued } = (await host.daemon.dispatch({ agent: 'none', room: 'queued', ...USER })).body;
  await host.daemon.recorded(queued, 'queued');
  const before = await host.listAll();
  const rooms = [...live.values(), ...closed.values()].map((id) => viewOf(before, id).room);
  return {
    ...{ live, closing: closed, queued, short, ended, before },
    seats: new Map(await Promise.all(rooms.map(async (room) => [room, await host.joined(room)] as const))),
    warmPids: await host.warmPids(),
  };
}

export function viewOf(views: ReadonlyMap<string, SessionView>, id: string): SessionView {
  const found = views.get(id);
  if (found === undefined) throw new Error(`${id} is not in the list`);
  return found;
}

/** Each room has a caller. LiveKit's own dispatch brings one call, HTTP the others. */
async function makeLive(host: Host): Promise<Map<string, string>> {
  const made = AGENTS.map(async (agent, index) => {
    const room = `live-${agent}`;
    await host.callers.join(room, 'caller', { audio: false });
    const more = {
      limits: { maxDurationMs: 3_600_000 + index * 60_000 },
      metadata: { lang: 'de' },
      labels: { tier: 'gold' },
      ...(agent === 'none' ? USER : {}),
    };
    const { id } =
      agent === 'livekit-node' ? await host.beginByLiveKit(room) : await host.begin(agent, room, more);
    await host.joined(room);
    return [agent, id] as const;
  });
  return new Map(await Promise.all(made));
}

/** Each call is in the first step of its teardown. Its agent finishes the step when the file is there. */
async function makeClosing(host: Host, agents: readonly string[]): Promise<Map<string, string>> {
  const made = agents.map(async (agent) => {
    const room = `closing-${agent}`;
    const { id } = await host.begin(agent, room);
    await host.joined(room);
    await host.cli('release', id, '--reason', REASON);
    await host.printed(`finishing ${room}`);
    await host.daemon.recorded(id, 'closing');
    return [agent, id] as const;
  });
  return new Map(await Promise.all(made));
}

async function makeShort(host: Host, name: string): Promise<Short> {
  const rooms = [`${name}-exits-0`, `${name}-exits-7`, `${name}-killed`];
  const [exits0 = '', exits7 = '', killed = ''] = await Promise.all(rooms.map((room) => makeOne(host, room)));
  return { exits0, exits7, killed };
}

/** A live session whose worker waits for a signal. The record on disk says live. */
export async function makeOne(host: Host, room: string): Promise<string> {
  const more = { user: room, labels: { tier: 'gold' }, metadata: { room } };
  const { id } = await host.begin('ends', room, more);
  await host.printed(`up ${room}`);
  return id;
}

/** The signal that ends each of the three workers. */
const ENDS = [
  ['exits0', 'SIGUSR2'],
  ['exits7', 'SIGUSR1'],
  ['killed', 'SIGTERM'],
] as const;

/** Waits until each exit status is on disk. `views`: a list that shows the processes. */
export async function endShort(
  host: Host,
  short: Short,
  views: ReadonlyMap<string, SessionView>,
): Promise<void> {
  for (const [which, signal] of ENDS) {
    const { id, pid } = viewOf(views, short[which]);
    if (pid === null) throw new Error(`${id} has no process`);
    process.kill(pid, signal);
  }
  // Race: a worker is gone a moment before its exit status is written, and the file holds the time of the end.
  const files = ENDS.map(([which]) => join(host.daemon.stateDir, 'workers', `${short[which]}.1`, 'status'));
  await until('each exit status is on disk', () =>
    files.every((file) => readFileSync(file, 'utf8').endsWith('\n')),
  );
}

async function makeEnded(host: Host): Promise<string[]> {
  const short = await makeShort(host, 'ended');
  const released = await makeOne(host, 'ended-released');
  const views = await host.listAll();
  await host.cli('release', released, '--reason', REASON);
  await endShort(host, short, views);
  const ids = [...ENDS.map(([which]) => short[which]), released];
  for (const id of ids) await host.daemon.recorded(id, (await host.daemon.ended(id)).state);
  return ids;
}
