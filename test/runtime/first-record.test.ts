/** A session exists from its dispatch on, also while its first record is written. */
import { describe, expect, it, vi } from 'vitest';
import type { SessionId } from '../../src/core/ids.ts';
import type { Actor } from '../../src/core/model/session.ts';
import { publicState } from '../../src/core/model/session.ts';
import { CurfewError } from '../../src/lib/errors.ts';
import type { DrainRecord } from '../../src/ports/drain-store.ts';
import { Supervisor } from '../../src/runtime/supervisor.ts';
import { settled, WARM_PROFILE, WarmRig } from '../support/workers/warm-rig.ts';

const ANN: Actor = { kind: 'token', name: 'ann' };
const REQUEST = { room: 'r', agent: 'default', metadata: {}, labels: {}, limits: {} };

/** A supervisor with one dispatch. Its first record is on its way to the disk. */
async function recording() {
  const rig = new WarmRig({ profile: { ...WARM_PROFILE, warm: 0 } });
  const record = Promise.withResolvers<void>();
  rig.onCreate = () => record.promise;
  let drain: DrainRecord | null = null;
  const supervisor = new Supervisor({
    ...rig.deps(),
    cleanup: { unmanaged: [], graceMs: 0 },
    drainStore: {
      read: () => drain,
      write: (written) => {
        drain = written;
      },
      clear: () => {
        drain = null;
      },
    },
  });
  const answer = supervisor.dispatch(REQUEST as never, ANN);
  answer.catch(() => undefined);
  await settled();
  return { rig, supervisor, answer, record };
}

/** A dispatch that reserved a warm worker, while its first record is on its way to the disk. */
async function recordingWarm() {
  const rig = await new WarmRig().start();
  const warm = await rig.ready();
  const record = Promise.withResolvers<void>();
  rig.onCreate = () => record.promise;
  const answer = rig.dispatch('r');
  answer.catch(() => undefined);
  await settled();
  return { rig, warm, record, answer };
}

describe('a session during the write of its first record', () => {
  it('counts in the capacity and holds its slot', async () => {
    const { supervisor } = await recording();
    const { sessions, quotas } = supervisor.capacity();
    expect(sessions.starting).toBe(1);
    expect(quotas.find((one) => one.name === 'host')).toMatchObject({ used: 1 });
  });

  it('keeps a drain waiting', async () => {
    const { rig, supervisor, record } = await recording();
    expect(await supervisor.drain(null, ANN)).toMatchObject({ draining: { open: 1 } });
    let isOver = false;
    supervisor.drainOver.then(() => {
      isOver = true;
    });
    await settled();
    expect(isOver).toBe(false);
    record.resolve();
    await settled();
    expect(rig.callsOf('spawn')).toHaveLength(1);
    expect(isOver).toBe(false);
  });

  it('is released by a stop, and the stop waits for it', async () => {
    const { rig, supervisor, answer, record } = await recording();
    const stopped = supervisor.stop(60_000, ANN);
    await settled();
    record.resolve();
    const { session } = await answer;
    await settled();
    expect(supervisor.sessions.state(session.id as SessionId)?.phase).toMatchObject({
      name: 'closing',
      ending: { reason: 'shutdown' },
    });
    for (const id of rig.callsOf('spawn')) rig.exits(id);
    await rig.advance(20_000);
    await rig.advance(20_000);
    await rig.advance(20_000);
    expect(await stopped).toMatchObject({ left: 0 });
  });

  it('is released by a release of all', async () => {
    const { supervisor, answer, record } = await recording();
    const chosen = await supervisor.releaseMany(
      { filter: {}, all: true, dryRun: false, detail: undefined },
      ANN,
    );
    expect(chosen).toHaveLength(1);
    record.resolve();
    const { session } = await answer;
    await settled();
    const now = supervisor.sessions.state(session.id as SessionId);
    expect(now === null ? null : publicState(now)).toBe('closing');
  });
});

describe('a session with a first record that fails', () => {
  const full = new CurfewError('registry_unavailable', 'the registry: no space left on device');

  it('is refused with that error, and nothing of it is left', async () => {
    const { rig, supervisor, answer, record } = await recording();
    record.reject(full);
    await expect(answer).rejects.toBe(full);
    await settled();
    expect(supervisor.sessions.all()).toEqual([]);
    expect(supervisor.capacity().quotas.find((one) => one.name === 'host')).toMatchObject({ used: 0 });
    expect(rig.callsOf('spawn')).toEqual([]);
    expect(rig.saved.size).toBe(0);
  });

  it('lets a drain end that waited for it', async () => {
    const { supervisor, answer, record } = await recording();
    await supervisor.start();
    await supervisor.drain(null, ANN);
    record.reject(full);
    await expect(answer).rejects.toBe(full);
    expect(await supervisor.drainOver).toEqual(ANN);
  });

  it('gives its warm worker back to the pool', async () => {
    const rig = await new WarmRig().start();
    const warm = await rig.ready();
    rig.onCreate = () => Promise.reject(full);
    await expect(rig.dispatch('r')).rejects.toBe(full);
    await settled();
    expect(rig.callsOf('SIGKILL')).toEqual([]);
    rig.onCreate = () => Promise.resolve();
    await rig.dispatch('r');
    await settled();
    expect(rig.callsOf('assign')).toEqual([warm]);
  });

  it('ends also when it was released meanwhile', async () => {
    const { supervisor, answer, record } = await recording();
    await supervisor.releaseMany({ filter: {}, all: true, dryRun: false, detail: undefined }, ANN);
    record.reject(full);
    await expect(answer).rejects.toBe(full);
    await settled();
    expect(supervisor.sessions.all()).toEqual([]);
  });

  it('is unknown as soon as its dispatch is refused, and its id can be used again at once', async () => {
    const rig = new WarmRig({ profile: { ...WARM_PROFILE, warm: 0 } });
    const record = Promise.withResolvers<void>();
    rig.onCreate = () => record.promise;
    const answer = rig.dispatch('r', { id: 'call-1' }).catch((error: unknown) => {
      rig.onCreate = () => Promise.resolve();
      return {
        error,
        known: rig.sessions.state('call-1' as SessionId),
        again: rig.dispatch('r', { id: 'call-1' }),
      };
    });
    await settled();
    for (const text of ['first', 'second'])
      rig.sessions.post('call-1' as SessionId, { type: 'metadata', metadata: { text } });
    record.reject(full);
    const refused = await answer;
    expect(refused).toMatchObject({ error: full, known: null });
    if (!('again' in refused)) throw new Error('the dispatch was accepted');
    expect(await refused.again).toMatchObject({ created: true });
    await settled();
    expect(rig.callsOf('spawn')).toHaveLength(1);
    expect(rig.sessions.all()).toHaveLength(1);
  });

  it.each([
    0, 1, 2, 3, 4, 5, 6,
  ])('is refused once when a gap is found %i turns after the failure', async (turns) => {
    const { rig, supervisor, answer, record } = await recording();
    const gap = record.promise.catch(async () => {
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      rig.onCreate = () => Promise.resolve();
      supervisor.sessions.postFirstToAll({ type: 'gap', gapMs: 60_000 });
    });
    record.reject(full);
    await expect(answer).rejects.toBe(full);
    await gap;
    await settled();
    expect(supervisor.sessions.all()).toEqual([]);
    expect(rig.saved.size).toBe(0);
  });

  it('is not recorded later when the database was lost meanwhile', async () => {
    const { rig, answer, record } = await recording();
    rig.onSave = () => Promise.reject(full);
    rig.loseDatabase({ setAside: null, why: 'its file is gone', isCopied: false });
    await settled();
    record.reject(full);
    await expect(answer).rejects.toBe(full);
    rig.onSave = () => Promise.resolve();
    await rig.advance(60_000);
    expect(rig.sessions.all()).toEqual([]);
    expect(rig.saved.size).toBe(0);
  });

  it('leaves its warm worker usable when the worker reconnected meanwhile', async () => {
    const { rig, warm, record, answer } = await recordingWarm();
    rig.channels?.closed(warm);
    expect(rig.channels?.hello(warm)).toBe(true);
    await settled();
    record.reject(full);
    await expect(answer).rejects.toBe(full);
    await settled();
    // Once before the dispatch, and once for the new connection: the worker accepts no room before its welcome.
    expect(rig.callsOf('welcome')).toEqual([warm, warm]);
  });
});

describe('a warm worker during the first record of its session', () => {
  it('makes the session live only after it has its room, also when it repeats that it is ready', async () => {
    const { rig, warm, record, answer } = await recordingWarm();
    rig.channels?.closed(warm);
    expect(rig.reportsReady(warm)).toBe(true);
    await settled();
    record.resolve();
    const { session } = await answer;
    await settled();
    expect(rig.callsOf('assign')).toEqual([warm]);
    expect(rig.sessions.state(session.spec.id)?.phase.name).toBe('starting');
    rig.channels?.message(warm, { type: 'ready' });
    await settled();
    expect(rig.sessions.state(session.spec.id)?.phase.name).toBe('live');
  });
});

describe('a fault in the first step of a session', () => {
  const fault = new Error('a fault in the code');

  it('refuses the dispatch and leaves nothing of the session', async () => {
    const rig = await new WarmRig().start();
    const warm = await rig.ready();
    vi.spyOn(rig.parts.workerIndex, 'note').mockImplementationOnce(() => {
      throw fault;
    });
    await expect(rig.dispatch('r')).rejects.toBe(fault);
    expect(rig.sessions.all()).toEqual([]);
    expect(rig.parts.admission.quotas().find((one) => one.name === 'host')).toMatchObject({ used: 0 });
    await rig.dispatch('r');
    await settled();
    expect(rig.callsOf('assign')).toEqual([warm]);
  });
});
