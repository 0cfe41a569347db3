/** This tree replaces the previous release in place, under live calls. The test sees only commands, HTTP, JSON, /proc and LiveKit. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PREVIOUS } from '../../scripts/previous-release.mjs';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { isAlive } from '../support/processes/test-processes.ts';
import { AGENTS, framework } from './agents.ts';
import type { Calls } from './calls.ts';
import { endShort, makeCalls, makeOne, viewOf } from './calls.ts';
import { Host } from './host.ts';
import { keysOf } from './keys.ts';

/** A process tree of a framework costs seconds of CPU time. So one framework has a warm worker, the other one a closing call. */
const WAYS = [
  { signal: 'SIGTERM', code: 0, warm: 'livekit-node', closing: 'livekit-python' },
  { signal: 'SIGKILL', code: null, warm: 'livekit-python', closing: 'livekit-node' },
] as const;

/** The new supervisor's report on workers that ended before its start. */
const ENDS = {
  exits0: { state: 'released', reason: 'completed', exit: { code: 0, signal: null } },
  exits7: { state: 'failed', reason: 'crashed', exit: { code: 7, signal: null } },
  killed: { state: 'failed', reason: 'crashed', exit: { code: null, signal: 'SIGTERM' } },
} as const;

/** The steps that end the process, with their outcomes, by protocol. */
const TEARDOWN = {
  none: { term: 'exited' },
  kit: { aclose: 'done', disconnect: 'exited' },
  livekit: { aclose: 'done', term: 'exited' },
} as const;

/** Two readings of one deadline differ by so much, because each compares two clocks. */
const CLOCK_MS = 100;

const KITS = AGENTS.filter((one) => one.startsWith('kit-'));

const maxDurationAt = ({ deadlines }: SessionView) =>
  Date.parse(deadlines.find((one) => one.kind === 'max_duration')?.at ?? '');

const teardownOf = ({ agent }: SessionView) =>
  TEARDOWN[agent.replace(/-.*/, '') as keyof typeof TEARDOWN] ?? {};

describe.runIf(HAS_LIVEKIT).each(WAYS)(`an upgrade from ${PREVIOUS.version} by $signal`, (way) => {
  let host: Host;
  let calls: Calls;
  /** The old supervisor starts this call after the files were replaced. */
  let late: string;
  let startedMs: number;
  let after: ReadonlyMap<string, SessionView>;

  beforeAll(async () => {
    host = await Host.start([...KITS, framework(way.warm)]);
    await host.explained(async () => {
      calls = await makeCalls(host, [...KITS, framework(way.closing)]);
      host.installNew();
      late = await makeOne(host, 'late');
      host.daemon.signal(way.signal);
      expect(await host.daemon.exited()).toBe(way.code);
      await endShort(host, calls.short, calls.before);
      startedMs = Date.now();
      await host.daemon.start();
      after = await host.listAll();
    });
  });
  afterAll(() => host?.close());

  const before = (id: string) => viewOf(calls.before, id);

  it('runs the new version', async () => {
    expect(await host.cli('--version')).not.toContain(PREVIOUS.commit.slice(0, 7));
  });

  it('leaves each live call with its process, its times and its maximum duration', () => {
    for (const id of calls.live.values()) {
      const { pid, room, createdAt, startedAt, liveAt, metadata, labels, user } = before(id);
      const same = { pid, room, createdAt, startedAt, liveAt, metadata, labels, user };
      expect(viewOf(after, id)).toMatchObject({ state: 'live', restarts: 0, ...same });
      expect(isAlive(pid ?? 0)).toBe(true);
      const movedMs = maxDurationAt(viewOf(after, id)) - maxDurationAt(before(id));
      expect(Math.abs(movedMs)).toBeLessThan(CLOCK_MS);
    }
  });

  it('leaves a call live that began between the installation and the restart', async () => {
    expect(viewOf(after, late)).toMatchObject({ state: 'live', restarts: 0 });
    await host.daemon.release(late);
    expect(await host.daemon.ended(late)).toMatchObject({ state: 'released', reason: 'requested' });
  });

  it('leaves each teardown in its step, with its cause and its times', () => {
    for (const id of calls.closing.values()) {
      const { pid, reason, evidence, createdAt, startedAt, liveAt } = before(id);
      const same = { pid, reason, createdAt, startedAt, liveAt };
      expect(viewOf(after, id)).toMatchObject({ state: 'closing', ...same });
      expect(viewOf(after, id).evidence).toEqual(evidence);
    }
  });

  it('leaves the launchers where LiveKit agents look for them', () => {
    // Because: a running agent starts processes later, and until its restart the old supervisor starts agents.
    const pids = [...calls.live]
      .filter(([agent]) => agent.startsWith('livekit-'))
      .map(([, id]) => before(id).pid);
    const launchers = pids.flatMap((pid) => launchersOf(pid ?? 0));
    expect(launchers).not.toEqual([]);
    expect(launchers.filter((path) => !existsSync(path))).toEqual([]);
  });

  it('leaves a dispatch that waits for a slot in the queue', () => {
    const { createdAt } = before(calls.queued);
    const waiting = { state: 'queued', createdAt, startedAt: null, pid: null };
    expect(viewOf(after, calls.queued)).toMatchObject(waiting);
  });

  it('tells truly how and when workers ended while no supervisor ran', async () => {
    for (const which of ['exits0', 'exits7', 'killed'] as const) {
      const ended = await host.daemon.ended(calls.short[which]);
      expect(ended).toMatchObject({ ...ENDS[which], createdAt: before(ended.id).createdAt });
      expect(Date.parse(ended.evidence?.at ?? '')).toBeLessThanOrEqual(startedMs);
    }
  });

  it('shows and lists the sessions that had ended before, with every value they had', async () => {
    for (const id of calls.ended) {
      expect(viewOf(after, id)).toMatchObject(before(id));
      expect(await host.show(id)).toMatchObject(before(id));
    }
  });

  it('loses no field of a session that the command line printed before', async () => {
    const changed = Object.values(calls.short);
    const unchanged = [...calls.before].filter(([id]) => !changed.includes(id));
    // The first poll and the first measurement follow the start by seconds.
    await until('each session has each field', async () => {
      const now = await host.listAll();
      const lost = unchanged.flatMap(([id, view]) => {
        const keys = keysOf(viewOf(now, id));
        return keysOf(view).flatMap((key) => (keys.includes(key) ? [] : `${key} of ${id}`));
      });
      if (lost.length > 0) throw new Error(`lost: ${lost.join(', ')}`);
      return true;
    });
  });

  it('lets the kits connect again: new metadata reaches their agents', async () => {
    for (const agent of KITS) {
      const id = calls.live.get(agent) ?? '';
      await host.daemon.call('PATCH', `/v1/sessions/${id}/metadata`, { metadata: { lang: 'fr' } });
      await host.printed(new RegExp(`configured live-${agent} .*fr`));
    }
  });

  it('leaves every agent connected to its room', async () => {
    for (const [room, seat] of calls.seats) expect(await host.seat(room), room).toEqual(seat);
  });

  it('ends a teardown that was under way with its true cause, when its agent has finished', async () => {
    host.finish();
    for (const id of calls.closing.values()) {
      const { pid, evidence } = before(id);
      const ended = await host.daemon.ended(id);
      expect(ended).toMatchObject({ state: 'released', reason: 'requested' });
      const { cause, at, by, detail } = evidence ?? {};
      expect(ended.evidence).toMatchObject({ cause, at, by, detail });
      expect(outcomesOf(ended)).toMatchObject(teardownOf(ended));
      expect(isAlive(pid ?? 0)).toBe(false);
    }
  });

  it('serves the queued dispatch when its slot is free', async () => {
    const id = calls.live.get('none') ?? '';
    await host.cli('release', id);
    await host.daemon.ended(id);
    const { createdAt, user } = before(calls.queued);
    const served = await host.daemon.reaches(calls.queued, ['live']);
    expect(served).toMatchObject({ createdAt, user });
    await host.joined(served.room);
  });

  it('releases a call of each protocol by the whole teardown, and no agent is left in its room', async () => {
    const ids = [...calls.live.values(), calls.queued];
    await host.cli('release', ...ids);
    for (const id of ids) {
      const ended = await host.daemon.ended(id);
      expect(ended).toMatchObject({ state: 'released', reason: 'requested' });
      const rooms = { remove_agent: 'done', close_room: id === calls.queued ? 'done' : 'skipped' };
      expect(outcomesOf(ended)).toEqual({ ...teardownOf(ended), ...rooms });
      await until(`no agent is in ${ended.room}`, async () => (await host.seat(ended.room)) === null);
    }
  });

  it('gives the next call to the worker that was warm', async () => {
    await host.poolsAreFull();
    for (const agent of host.warm) {
      const { pid, room } = await host.begin(agent, `warm-${agent}`);
      expect(calls.warmPids).toContain(pid);
      await host.joined(room);
    }
  });

  it('leaves no process of a call behind', async () => {
    await host.cli('release', '--all', '--yes');
    await until('only warm workers are left', async () => {
      const warm = await host.warmPids();
      return marked(host.daemon.instanceId()).every((one) => warm.includes(one.pid));
    });
  });
});

/** The paths that curfew gave to a worker for Node and for Python. */
function launchersOf(pid: number): string[] {
  const environ = readFileSync(`/proc/${pid}/environ`, 'utf8');
  const [, node = ''] = /^NODE_OPTIONS=.*--import=file:\/\/(\S+)/m.exec(environ.replaceAll('\0', '\n')) ?? [];
  const [, python = ''] = /^PYTHONPATH=([^:\n]+)/m.exec(environ.replaceAll('\0', '\n')) ?? [];
  return [node, join(python, 'sitecustomize.py')];
}

function outcomesOf({ evidence }: SessionView): Record<string, string | null> {
  return Object.fromEntries((evidence?.ladder ?? []).map(({ step, outcome }) => [step, outcome]));
}

describe.runIf(HAS_LIVEKIT)(`a downgrade to ${PREVIOUS.version}`, () => {
  let host: Host;
  let before: ReadonlyMap<string, SessionView>;
  let ids: readonly string[];

  beforeAll(async () => {
    host = await Host.start([], 'new');
    await host.explained(async () => {
      const begun = [...KITS, 'ends'].map((agent) => host.begin(agent, `down-${agent}`, { user: agent }));
      ids = (await Promise.all(begun)).map(({ id }) => id);
      before = await host.listAll();
      for (const id of ids) await host.daemon.recorded(id, 'live');
      host.installPrevious();
      host.daemon.signal('SIGTERM');
      expect(await host.daemon.exited()).toBe(0);
      await host.daemon.start();
    });
  });
  afterAll(() => host?.close());

  it('leaves each live call with its process, its times and its maximum duration', async () => {
    const after = await host.listAll();
    for (const id of ids) {
      const { pid, room, createdAt, startedAt, liveAt, user } = viewOf(before, id);
      const same = { pid, room, createdAt, startedAt, liveAt, user };
      expect(viewOf(after, id)).toMatchObject({ state: 'live', restarts: 0, ...same });
      expect(isAlive(pid ?? 0)).toBe(true);
      const movedMs = maxDurationAt(viewOf(after, id)) - maxDurationAt(viewOf(before, id));
      expect(Math.abs(movedMs)).toBeLessThan(CLOCK_MS);
    }
  });

  it('lets the old version end each call in order', async () => {
    host.finish();
    for (const id of ids) await host.daemon.release(id);
    for (const id of ids)
      expect(await host.daemon.ended(id)).toMatchObject({ state: 'released', reason: 'requested' });
  });
});
