/** Warm workers between the pool and the sessions: whose each is, in every order of what happens. */
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import type { Session, WorkerProcess } from '../../src/core/session.ts';
import { sessionOf } from '../support/sessions.ts';
import { settled, WARM_PROFILE, WarmRig } from '../support/warm-rig.ts';

const WARM = workerId('warm-9.1');
const process: WorkerProcess = {
  shim: { bootId: 'boot', pid: 7, startTicks: 7 },
  main: { bootId: 'boot', pid: 8, startTicks: 8 },
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
const folders = new Map([[WARM, { profile: WARM_PROFILE, process, hasJob: false }]]);

describe('a supervisor that died between a promise and the record of its assignment', () => {
  it('goes on with the worker that was promised, which may be talking already', async () => {
    const rig = await new WarmRig({ recorded: [promised()], folders }).start();
    expect(rig.of('adopt')).toEqual([WARM]);
    expect(rig.sessions.pool.has(WARM)).toBe(false);
    expect(rig.says(WARM)).toBe(true);
    await settled();
    expect(rig.of('assign')).toContain(WARM);
    expect(rig.sessions.state(promised().spec.id)?.phase).toMatchObject({
      name: 'live',
      work: { worker: { id: WARM, warm: true } },
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
    phase: {
      name: 'starting',
      startedAt: { bootMs: 0, wallMs: 0 },
      worker: {
        id: WARM,
        attempt: 1,
        spawnedAt: { bootMs: 0, wallMs: 0 },
        readyByMs: 2_000_000,
        process,
        channel: 'open',
        exit: null,
        treeGone: false,
        warm: true,
      },
    },
  });

  it('leaves alone what a session has, although its folder is older than that', async () => {
    const rig = await new WarmRig({ recorded: [starting()], folders }).start();
    expect(rig.of('adopt')).toEqual([WARM]);
    expect(rig.sessions.pool.has(WARM)).toBe(false);
    await rig.advance(WARM_PROFILE.limits.startTimeoutMs - 1);
    expect(rig.of('SIGTERM')).toEqual([]);
  });

  it('lets go a LiveKit agent that was given a job', async () => {
    const rig = await new WarmRig({
      folders: new Map([[WARM, { profile: WARM_PROFILE, process, hasJob: true }]]),
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
