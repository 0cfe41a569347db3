/** A session exists from its dispatch on, also while its first record is written. */
import { describe, expect, it } from 'vitest';
import type { SessionId } from '../../src/core/ids.ts';
import type { Actor } from '../../src/core/model/session.ts';
import { publicState } from '../../src/core/model/session.ts';
import { CurfewError } from '../../src/lib/errors.ts';
import type { DrainRecord } from '../../src/ports/drain-store.ts';
import { Supervisor } from '../../src/runtime/supervisor.ts';
import { settled, WARM_PROFILE, WarmRig } from '../support/workers/warm-rig.ts';

const ANN: Actor = { kind: 'token', name: 'ann' };
const REQUEST = { room: 'r', agent: 'default', metadata: {}, labels: {}, limits: {} };

/** A supervisor with one dispatch whose first record is on its way to the disk. */
async function recording() {
  const rig = new WarmRig({ profile: { ...WARM_PROFILE, warm: 0 } });
  const record = Promise.withResolvers<void>();
  rig.onCreate = () => record.promise;
  let drain: DrainRecord | null = null;
  const supervisor = new Supervisor({
    ...rig.deps(),
    sweep: { unmanaged: [], graceMs: 0 },
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

describe('a session whose first record is being written', () => {
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

describe('a session whose first record fails', () => {
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
});
