/** Warm workers between the pool and the sessions: whose each is, in every order of what happens. */
import { describe, expect, it } from 'vitest';
import { sessionId, workerId } from '../../src/core/ids.ts';
import type { SessionEvent } from '../../src/core/model/events.ts';
import type { Session } from '../../src/core/model/session.ts';
import { workerOf } from '../../src/core/model/session.ts';
import type { WorkerProcess } from '../../src/core/model/worker.ts';
import { sessionOf } from '../support/sessions.ts';
import { settled, WARM_PROFILE, WarmRig } from '../support/warm-rig.ts';

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

/** As its first record says it: promised to the session, the assignment is still awaited. */
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

/** Its folder does not know of the session yet. */
const folders = new Map([[WARM, { profile: WARM_PROFILE, process, isSpent: false }]]);

describe('a supervisor that died between a promise and the record of its assignment', () => {
  it('goes on with the worker that was promised, which may be talking already', async () => {
    const rig = await new WarmRig({ recorded: [promised()], folders }).start();
    expect(rig.of('adopt')).toEqual([WARM]);
    expect(rig.parts.pool.has(WARM)).toBe(false);
    expect(rig.says(WARM)).toBe(true);
    await settled();
    expect(rig.of('assign')).toContain(WARM);
    expect(rig.sessions.state(promised().spec.id)?.phase).toMatchObject({
      name: 'live',
      work: { worker: { id: WARM, warm: 'sound' } },
    });
    expect(rig.of('spawn').filter((id) => id.startsWith('s-1'))).toEqual([]);
  });

  it('starts another one when that one is dead, and its whole tree is gone', async () => {
    const rig = new WarmRig({ recorded: [promised()], folders });
    rig.ended.set(WARM, { code: 1, signal: null, at: { bootMs: 0, wallMs: 0 } });
    await rig.start();
    expect(rig.of('spawn')).not.toContain('s-1.2');
    rig.workers.tree(WARM, 1);
    await settled();
    expect(rig.of('SIGKILL')).toEqual([WARM]);
    rig.workers.tree(WARM, 0);
    await settled();
    expect(rig.of('spawn')).toContain('s-1.2');
  });

  it('ends the session when the host was rebooted', async () => {
    const session = promised();
    const shim = { ...process.shim, bootId: 'the boot before' };
    const grant = { startAtMs: 0, assignedByMs: null, workerId: WARM, warm: { main: null, shim } };
    const rig = await new WarmRig({ recorded: [{ ...session, phase: { name: 'queued', grant } }] }).start();
    expect(rig.saved.get(session.spec.id)?.phase).toMatchObject({ ending: { reason: 'node_lost' } });
    expect(rig.of('adopt')).toEqual([]);
  });
});

describe('a pool that is taken over', () => {
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

  it('leaves alone what a session has, although its folder is older than that', async () => {
    const rig = await new WarmRig({ recorded: [starting()], folders }).start();
    expect(rig.of('adopt')).toEqual([WARM]);
    expect(rig.parts.pool.has(WARM)).toBe(false);
    await rig.advance(WARM_PROFILE.limits.startTimeoutMs - 1);
    expect(rig.of('SIGTERM')).toEqual([]);
  });

  it('lets go a LiveKit agent that was given a job', async () => {
    const rig = await new WarmRig({
      folders: new Map([[WARM, { profile: WARM_PROFILE, process, isSpent: true }]]),
    }).start();
    expect(rig.of('SIGTERM')).toEqual([WARM]);
    expect(rig.says(WARM)).toBe(false);
  });
});

describe('a folder', () => {
  it('learns whose its worker is as soon as it is given away', async () => {
    const rig = await new WarmRig().start();
    const id = await rig.ready();
    await rig.dispatch('r');
    expect(rig.of('assign')).toEqual([id]);
    expect(rig.of('record')).toEqual([id]);
  });
});

describe('a session that waited for a place', () => {
  const full = { limits: { sessions: 1 } };

  /** One call with a warm worker, a second one that waits for its place, and a warm worker that is ready for it. */
  async function crowded() {
    const rig = await new WarmRig(full).start();
    const first = await rig.ready();
    const holder = await rig.dispatch('a');
    await rig.advance(60);
    const second = await rig.ready();
    const waiting = await rig.dispatch('b');
    rig.says(first);
    await settled();
    return { rig, first, holder, second, waiting };
  }

  it('takes its warm worker out of the pool, which is filled up again', async () => {
    const { rig, first, holder, second, waiting } = await crowded();
    rig.sessions.post(holder.session.spec.id, release);
    await settled();
    rig.exits(first);
    await settled();
    expect(rig.of('assign').at(-1)).toBe(second);
    expect(rig.parts.pool.has(second)).toBe(false);
    await rig.advance(60);
    expect(rig.warm).toHaveLength(3);
    // Its end is its session's, and no crash of the pool.
    rig.says(second);
    await settled();
    rig.sessions.post(waiting.session.spec.id, release);
    rig.exits(second, { tree: 1 });
    await settled();
    expect(rig.parts.pool.views()[0]).toMatchObject({ crashes: 0 });
  });

  it('and was released when its turn came gives the warm worker back', async () => {
    const { rig, holder, second, waiting } = await crowded();
    // Its turn comes while its release is still waiting to be handled.
    rig.sessions.post(waiting.session.spec.id, { type: 'metadata', metadata: {} });
    rig.sessions.post(waiting.session.spec.id, release);
    rig.parts.admission.update(holder.session.spec.id, null);
    expect(rig.parts.pool.views()[0]).toMatchObject({ ready: 0 });
    await settled();
    expect(rig.parts.pool.views()[0]).toMatchObject({ ready: 1 });
    const next = await rig.dispatch('c');
    expect(rig.of('assign').at(-1)).toBe(second);
    expect(workerOf(rig.sessions.state(next.session.spec.id) as Session)?.id).toBe(second);
  });
});

describe('a warm worker', () => {
  it('that dies while its session’s first record is written is replaced at once', async () => {
    const rig = await new WarmRig().start();
    const id = await rig.ready();
    rig.onCreate = async () => rig.exits(id);
    const { session } = await rig.dispatch('r');
    await settled();
    expect(rig.of('spawn').at(-1)).toBe(`${session.spec.id}.2`);
  });

  it('that left something behind then is replaced when that is gone', async () => {
    const rig = await new WarmRig().start();
    const id = await rig.ready();
    rig.onCreate = async () => rig.exits(id, { tree: 1 });
    const { session } = await rig.dispatch('r');
    await settled();
    expect(rig.of('spawn')).not.toContain(`${session.spec.id}.2`);
    rig.workers.tree(id, 0);
    await settled();
    expect(rig.of('spawn')).toContain(`${session.spec.id}.2`);
  });

  it('that was promised to a job and dies meanwhile is replaced too', async () => {
    const rig = await new WarmRig().start();
    const id = await rig.ready();
    rig.onCreate = async () => rig.exits(id);
    const { session } = await rig.dispatch('r', {}, { assignedWithinMs: 3000 });
    rig.sessions.post(session.spec.id, { type: 'assigned' });
    await settled();
    expect(rig.of('spawn')).toContain(`${session.spec.id}.1`);
  });

  it('is never handed out twice: who gave it back has no say in it any more', async () => {
    const rig = await new WarmRig({ limits: { sessions: 1 } }).start();
    const first = await rig.ready();
    await rig.dispatch('a');
    await rig.advance(60);
    const warm = await rig.ready();
    // A waits for a place: what it took goes back, and its record fails late.
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

  it('is forgotten when its session goes on with another one', async () => {
    const rig = await new WarmRig().start();
    const id = await rig.ready();
    await rig.dispatch('r');
    rig.exits(id);
    await settled();
    expect(rig.of('forget')).toEqual([id]);
  });
});

describe('the pool', () => {
  it('does not take a start for a crash that it did not want any more', async () => {
    const rig = new WarmRig();
    const gate = Promise.withResolvers<void>();
    rig.onSpawn = () => gate.promise;
    await rig.start();
    rig.onSpawn = () => Promise.resolve();
    rig.profile = { ...WARM_PROFILE, version: '2' };
    rig.parts.pool.refresh(true);
    gate.reject(new Error('it was ended before its turn to start came'));
    await settled();
    expect(rig.parts.pool.views()[0]).toMatchObject({ crashes: 0, notBeforeMs: 0 });
    expect(rig.parts.pool.has(rig.warm[0] ?? WARM)).toBe(false);
  });
});
