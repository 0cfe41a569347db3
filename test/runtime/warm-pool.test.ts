/** Warm workers between the pool and the sessions: to which of them a worker belongs, in every order of events. */
import { describe, expect, it } from 'vitest';
import { sessionId, workerId } from '../../src/core/ids.ts';
import type { SessionEvent } from '../../src/core/model/events.ts';
import type { Session } from '../../src/core/model/session.ts';
import { workerOf } from '../../src/core/model/session.ts';
import type { WorkerProcess } from '../../src/core/model/worker.ts';
import { channelOf } from '../../src/core/model/worker.ts';
import { sessionOf } from '../support/sessions/session-writes.ts';
import { settled, WARM_PROFILE, WarmRig } from '../support/workers/warm-rig.ts';

const WARM = workerId('warm-9.1');
const process: WorkerProcess = {
  shim: { bootId: 'boot', pid: 7, startTicks: 7 },
  main: { bootId: 'boot', pid: 8, startTicks: 8 },
};

const release: SessionEvent = {
  type: 'release',
  reason: 'requested',
  by: { kind: 'local', name: 'x' },
  detail: null,
};

/** A session after its first record: a warm worker is promised to it, and the assignment is still awaited. */
function promised(): Session {
  const base = sessionOf({ id: 's-1', room: 'r' });
  const spec = { ...base.spec, profile: WARM_PROFILE, limits: WARM_PROFILE.limits };
  return {
    ...base,
    spec,
    phase: {
      name: 'queued',
      grant: { startAtMs: 0, assignedByMs: 2_000_000, workerId: WARM, warm: process },
    },
  };
}

/** The folder of the warm worker does not name the session yet. */
const folders = new Map([[WARM, { profile: WARM_PROFILE, process, isSpent: false }]]);

/** The pool of the only agent with warm workers. */
const poolView = (rig: WarmRig) => rig.parts.pool.views().find(({ agent }) => agent === 'default');
const latestSpawned = (rig: WarmRig) => rig.callsOf('spawn').at(-1);
const latestAssigned = (rig: WarmRig) => rig.callsOf('assign').at(-1);

describe('a session with a promised warm worker at the start of a supervisor', () => {
  it('continues with the promised worker, which can be talking already', async () => {
    const rig = await new WarmRig({ recorded: [promised()], folders }).start();
    expect(rig.callsOf('adopt')).toEqual([WARM]);
    expect(rig.parts.pool.has(WARM)).toBe(false);
    expect(rig.reportsReady(WARM)).toBe(true);
    await settled();
    expect(rig.callsOf('assign')).toContain(WARM);
    expect(rig.sessions.state(promised().spec.id)?.phase).toMatchObject({
      name: 'live',
      work: { worker: { id: WARM, warm: 'sound' } },
    });
    expect(rig.callsOf('spawn').filter((id) => id.startsWith('s-1'))).toEqual([]);
  });

  it('starts another worker when the promised worker is dead and its whole tree is gone', async () => {
    const rig = new WarmRig({ recorded: [promised()], folders });
    rig.ended.set(WARM, { code: 1, signal: null, at: { bootMs: 0, wallMs: 0 } });
    await rig.start();
    expect(rig.callsOf('spawn')).not.toContain('s-1.2');
    rig.workers.tree(WARM, 1);
    await settled();
    expect(rig.callsOf('SIGKILL')).toEqual([WARM]);
    rig.workers.tree(WARM, 0);
    await settled();
    expect(rig.callsOf('spawn')).toContain('s-1.2');
  });

  it('ends when the host was rebooted', async () => {
    const session = promised();
    const shim = { ...process.shim, bootId: 'an earlier boot' };
    const grant = { startAtMs: 0, assignedByMs: null, workerId: WARM, warm: { main: null, shim } };
    const rig = await new WarmRig({ recorded: [{ ...session, phase: { name: 'queued', grant } }] }).start();
    expect(rig.saved.get(session.spec.id)?.phase).toMatchObject({ ending: { reason: 'node_lost' } });
    expect(rig.callsOf('adopt')).toEqual([]);
  });
});

describe('the warm pool at the start of a supervisor', () => {
  const starting = (): Session => ({
    ...promised(),
    startedAt: { bootMs: 0, wallMs: 0 },
    phase: {
      name: 'starting',
      worker: {
        stage: 'running',
        id: WARM,
        attempt: 1,
        spawnedAt: { bootMs: 0, wallMs: 0 },
        readyByMs: 2_000_000,
        process,
        channel: 'open',
        warm: 'sound',
      },
    },
  });

  it('does not take the worker of a session, although the folder still shows the worker as warm', async () => {
    const rig = await new WarmRig({ recorded: [starting()], folders }).start();
    expect(rig.callsOf('adopt')).toEqual([WARM]);
    expect(rig.parts.pool.has(WARM)).toBe(false);
    await rig.advance(WARM_PROFILE.limits.startTimeoutMs - 1);
    expect(rig.callsOf('SIGTERM')).toEqual([]);
  });

  it('ends a LiveKit agent that had a job', async () => {
    const rig = await new WarmRig({
      folders: new Map([[WARM, { profile: WARM_PROFILE, process, isSpent: true }]]),
    }).start();
    expect(rig.callsOf('SIGTERM')).toEqual([WARM]);
    expect(rig.reportsReady(WARM)).toBe(false);
  });

  it.each([
    ['main', ['SIGTERM main']],
    ['all', ['SIGTERM all']],
  ] as const)('sends TERM to %s processes of such a LiveKit agent, as its profile says', async (signal, sent) => {
    const profile = { ...WARM_PROFILE, ladder: { ...WARM_PROFILE.ladder, signal } };
    const rig = await new WarmRig({
      folders: new Map([[WARM, { profile, process, isSpent: true }]]),
    }).start();
    expect(rig.signals).toEqual(sent);
  });
});

describe('the folder of a warm worker', () => {
  it('names the session as soon as the worker is assigned', async () => {
    const rig = await new WarmRig().start();
    const id = await rig.ready();
    await rig.dispatch('r');
    expect(rig.callsOf('assign')).toEqual([id]);
    expect(rig.callsOf('record')).toEqual([id]);
  });
});

describe('a session that waited for a slot', () => {
  const full = { limits: { sessions: 1 } };

  /** One call has a warm worker, a second call waits for a slot, and another warm worker is ready. */
  async function crowded() {
    const rig = await new WarmRig(full).start();
    const first = await rig.ready();
    const holder = await rig.dispatch('a');
    await rig.advance(60);
    const second = await rig.ready();
    const waiting = await rig.dispatch('b');
    rig.reportsReady(first);
    await settled();
    return { rig, first, holder, second, waiting };
  }

  it('takes its warm worker out of the pool, and the pool is refilled', async () => {
    const { rig, first, holder, second, waiting } = await crowded();
    rig.sessions.post(holder.session.spec.id, release);
    await settled();
    rig.exits(first);
    await settled();
    expect(latestAssigned(rig)).toBe(second);
    expect(rig.parts.pool.has(second)).toBe(false);
    await rig.advance(60);
    expect(rig.warm).toHaveLength(3);
    // The exit counts for the session, not as a crash of the pool.
    rig.reportsReady(second);
    await settled();
    rig.sessions.post(waiting.session.spec.id, release);
    rig.exits(second, { tree: 1 });
    await settled();
    expect(poolView(rig)).toMatchObject({ crashes: 0 });
  });

  it('returns the warm worker to the pool when it is released as its slot becomes free', async () => {
    const { rig, holder, second, waiting } = await crowded();
    // Race: the slot is granted while the release is still in the mailbox.
    rig.sessions.post(waiting.session.spec.id, { type: 'metadata', metadata: {} });
    rig.sessions.post(waiting.session.spec.id, release);
    rig.parts.admission.update(holder.session.spec.id, null);
    expect(poolView(rig)).toMatchObject({ ready: 0 });
    await settled();
    expect(poolView(rig)).toMatchObject({ ready: 1 });
    const next = await rig.dispatch('c');
    expect(latestAssigned(rig)).toBe(second);
    expect(workerOf(rig.sessions.state(next.session.spec.id) as Session)?.id).toBe(second);
  });
});

describe('a warm worker', () => {
  it('is replaced at once when it dies while the first record of its session is written', async () => {
    const rig = await new WarmRig().start();
    const id = await rig.ready();
    rig.onCreate = async () => rig.exits(id);
    const { session } = await rig.dispatch('r');
    await settled();
    expect(latestSpawned(rig)).toBe(`${session.spec.id}.2`);
  });

  it('is replaced after its tree is gone when it left processes behind', async () => {
    const rig = await new WarmRig().start();
    const id = await rig.ready();
    rig.onCreate = async () => rig.exits(id, { tree: 1 });
    const { session } = await rig.dispatch('r');
    await settled();
    expect(rig.callsOf('spawn')).not.toContain(`${session.spec.id}.2`);
    rig.workers.tree(id, 0);
    await settled();
    expect(rig.callsOf('spawn')).toContain(`${session.spec.id}.2`);
  });

  it('is replaced when it dies while it is promised to a job', async () => {
    const rig = await new WarmRig().start();
    const id = await rig.ready();
    rig.onCreate = async () => rig.exits(id);
    const { session } = await rig.dispatch('r', {}, { assignedWithinMs: 3000 });
    rig.sessions.post(session.spec.id, { type: 'assigned' });
    await settled();
    expect(rig.callsOf('spawn')).toContain(`${session.spec.id}.1`);
  });

  it('is never assigned twice, also when the session that returned it fails late', async () => {
    const rig = await new WarmRig({ limits: { sessions: 1 } }).start();
    const first = await rig.ready();
    await rig.dispatch('a');
    await rig.advance(60);
    const warm = await rig.ready();
    // The second call waits for a slot. Its warm worker returns to the pool, and its record fails later.
    const record = Promise.withResolvers<void>();
    rig.onCreate = () => record.promise;
    const refused = rig.dispatch('b').catch(() => 'refused');
    rig.onCreate = () => Promise.resolve();
    const taken = rig.parts.pool.take(WARM_PROFILE, sessionId('another'));
    expect(taken?.id).toBe(warm);
    record.reject(new Error('the disk is full'));
    expect(await refused).toBe('refused');
    expect(rig.parts.pool.take(WARM_PROFILE, sessionId('a third'))).toBeNull();
    expect(first).not.toBe(warm);
  });

  /** A session holds a reservation, because LiveKit's assignment is still awaited. The worker's connection closes meanwhile. */
  async function lostInReserve() {
    const rig = await new WarmRig().start();
    const id = await rig.ready();
    const { session } = await rig.dispatch('r', {}, { assignedWithinMs: 3000 });
    rig.channels?.closed(id);
    return { rig, id, session: session.spec.id };
  }

  it('that lost its connection while it was reserved goes to no session before it has connected again', async () => {
    const { rig, id, session } = await lostInReserve();
    rig.sessions.post(session, release);
    await settled();
    expect(poolView(rig)).toMatchObject({ ready: 0, starting: 1 });
    const next = await rig.dispatch('s');
    expect(workerOf(rig.sessions.state(next.session.spec.id) as Session)?.id).not.toBe(id);
    rig.reportsReady(id);
    expect(poolView(rig)).toMatchObject({ ready: 1 });
  });

  it('that lost its connection while it was reserved is retired if it does not connect again', async () => {
    const { rig, id, session } = await lostInReserve();
    rig.sessions.post(session, release);
    await settled();
    await rig.advance(WARM_PROFILE.limits.startTimeoutMs + 1);
    expect(rig.callsOf('SIGTERM')).toEqual([id]);
  });

  it('that connected again while it was reserved is ready when it returns to the pool', async () => {
    const { rig, id, session } = await lostInReserve();
    rig.reportsReady(id);
    await settled();
    rig.sessions.post(session, release);
    await settled();
    expect(poolView(rig)).toMatchObject({ ready: 1 });
  });

  it('that has no connection at the start of its session gets its room when it has connected again', async () => {
    const { rig, id, session } = await lostInReserve();
    rig.sessions.post(session, { type: 'assigned' });
    await settled();
    expect(channelOf(workerOf(rig.sessions.state(session) as Session))).toBe('lost');
    const before = rig.callsOf('assign').length;
    rig.channels?.hello(id);
    await settled();
    expect(rig.callsOf('assign')).toHaveLength(before + 1);
  });

  it('is forgotten when its session continues with another worker', async () => {
    const rig = await new WarmRig().start();
    const id = await rig.ready();
    await rig.dispatch('r');
    rig.exits(id);
    await settled();
    expect(rig.callsOf('forget')).toEqual([id]);
  });
});

describe('the warm pool after a change of the profile', () => {
  it('does not count an obsolete start as a crash', async () => {
    const rig = new WarmRig();
    const gate = Promise.withResolvers<void>();
    rig.onSpawn = () => gate.promise;
    await rig.start();
    rig.onSpawn = () => Promise.resolve();
    rig.profile = { ...WARM_PROFILE, version: '2' };
    rig.parts.pool.refresh(true);
    gate.reject(new Error('it was ended before its turn to start came'));
    await settled();
    expect(poolView(rig)).toMatchObject({ crashes: 0, notBeforeMs: 0 });
    const [obsolete = WARM] = rig.warm;
    expect(rig.parts.pool.has(obsolete)).toBe(false);
  });
});

describe('a crashed worker', () => {
  const crashed = async () => {
    const rig = await new WarmRig().start();
    const first = await rig.ready();
    const { session } = await rig.dispatch('r');
    rig.reportsReady(first);
    await settled();
    await rig.advance(100);
    const next = await rig.ready();
    rig.exits(first);
    await settled();
    return { rig, first, next, id: session.spec.id };
  };
  const latest = (rig: WarmRig, id: Session['spec']['id']) => rig.sessions.state(id);

  it('is replaced by a ready warm worker after the wait, and the pool is refilled', async () => {
    const { rig, next, id } = await crashed();
    expect(next).not.toBe(latestAssigned(rig));
    await rig.advance(700);
    expect(latestAssigned(rig)).toBe(next);
    expect(rig.parts.pool.has(next)).toBe(false);
    expect(latest(rig, id)).toMatchObject({ restarts: 1, phase: { work: { worker: { id: next } } } });
    expect(rig.callsOf('spawn')).not.toContain(`${id}.2`);
    await rig.advance(100);
    expect(rig.warm).toHaveLength(3);
  });

  it('is replaced by a worker of its own when no warm one is ready', async () => {
    const { rig, next, id } = await crashed();
    rig.exits(next);
    await rig.advance(700);
    expect(rig.callsOf('spawn')).toContain(`${id}.2`);
  });

  it('is replaced by a third worker when the warm one dies before the session has taken it', async () => {
    const { rig, next, id } = await crashed();
    rig.onSave = async () => {
      rig.onSave = () => Promise.resolve();
      await settled();
      rig.exits(next);
    };
    await rig.advance(700);
    await settled();
    await rig.advance(5000);
    const state = latest(rig, id);
    expect(state === null || workerOf(state)?.id !== next).toBe(true);
  });

  it('gives the warm worker back when its session ends first', async () => {
    const { rig, next, id } = await crashed();
    rig.onSave = async () => {
      rig.onSave = () => Promise.resolve();
      rig.sessions.post(id, release);
    };
    await rig.advance(700);
    await settled();
    expect(latest(rig, id)?.phase.name ?? 'ended').not.toBe('live');
    expect(rig.callsOf('assign')).not.toContain(next);
    expect(poolView(rig)).toMatchObject({ ready: 1 });
  });
});
