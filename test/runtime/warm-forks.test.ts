/** The warm pool of an agent with zygotes: its workers wait for the zygote, and a renewal of the zygote renews them. */
import { expect, it } from 'vitest';
import type { WorkerId } from '../../src/core/ids.ts';
import { isZygoteId } from '../../src/core/ids.ts';
import type { Profile } from '../../src/core/model/profile.ts';
import { ZYGOTE } from '../../src/lib/limits/worker-limits.ts';
import { settled, WARM_PROFILE, WarmRig } from '../support/workers/warm-rig.ts';

const PROFILE: Profile = { ...WARM_PROFILE, protocol: 'livekit', prefork: 'auto', warm: 2 };

async function rigOf(profile = PROFILE): Promise<WarmRig> {
  const rig = new WarmRig({ profile });
  rig.parts.zygotes.refresh(true);
  return rig.start();
}

const zygotes = (rig: WarmRig) => rig.callsOf('spawn').filter(isZygoteId);
const ready = async (rig: WarmRig, ids: readonly WorkerId[]) => {
  // A LiveKit agent is ready when it has registered, at an address that the rig does not have.
  for (const id of ids) if (isZygoteId(id)) rig.reportsReady(id);
  for (const id of ids) if (!isZygoteId(id)) rig.parts.pool.hello(id);
  await settled();
};
const spawnRequestOf = (rig: WarmRig, id: WorkerId | undefined) =>
  rig.requests.find(({ workerId }) => workerId === id);

it('the first warm workers are forked, because they wait for the zygote', async () => {
  const rig = await rigOf();
  expect(rig.warm).toEqual([]);
  await ready(rig, zygotes(rig));
  expect(rig.warm).toHaveLength(2);
  for (const id of rig.warm) expect(spawnRequestOf(rig, id)?.fork).toBeTypeOf('function');
});

it.each<[string, (rig: WarmRig) => unknown, string]>([
  ['hangs', (rig) => rig.advance(ZYGOTE.awaitedMs), 'its zygote is not ready yet'],
  ['dies', (rig) => rig.exits(zygotes(rig)[0] as WorkerId), 'its zygote failed: it exited with code 1'],
  [
    'refuses',
    (rig) => {
      rig.channels?.hello(zygotes(rig)[0] as WorkerId);
      rig.channels?.message(zygotes(rig)[0] as WorkerId, { type: 'failed', message: 'a thread is left' });
    },
    'a thread is left',
  ],
])('the warm workers start cold when the zygote %s, and one line says why', async (_how, fails, why) => {
  const rig = await rigOf();
  await fails(rig);
  await settled();
  expect(rig.warm).toHaveLength(2);
  for (const id of rig.warm) expect(spawnRequestOf(rig, id)?.fork).toBeUndefined();
  expect(rig.told('the warm workers of this agent start cold')).toEqual([{ agent: 'default', why }]);
});

it('a dispatch does not wait for the zygote', async () => {
  const rig = await rigOf();
  await rig.dispatch('r');
  await settled();
  expect(rig.callsOf('spawn').filter((id) => !isZygoteId(id))).toHaveLength(1);
});

it('a renewal starts new forks and retires each old warm worker for a ready new one', async () => {
  const rig = await rigOf();
  await ready(rig, zygotes(rig));
  const old = rig.warm;
  await ready(rig, old);
  await rig.advance(1);
  rig.parts.zygotes.renew();
  await settled();
  await ready(rig, zygotes(rig).slice(1));
  const [next, other] = rig.warm.slice(2) as [WorkerId, WorkerId];
  expect(rig.warm).toHaveLength(4);
  const ended = () => rig.callsOf('SIGTERM').filter((id) => !isZygoteId(id));
  expect(ended()).toEqual([]);
  await ready(rig, [next]);
  expect(ended()).toHaveLength(1);
  await ready(rig, [other]);
  expect(ended().sort()).toEqual([...old].sort());
  expect(rig.parts.pool.views()[0]).toMatchObject({ ready: 2, starting: 0 });
});

it('a renewal that fails keeps the warm workers', async () => {
  const rig = await rigOf();
  await ready(rig, zygotes(rig));
  await ready(rig, rig.warm);
  await rig.advance(1);
  rig.parts.zygotes.renew();
  await settled();
  rig.exits(zygotes(rig)[1] as WorkerId);
  await settled();
  expect(rig.warm).toHaveLength(2);
  expect(rig.callsOf('SIGTERM')).toEqual([]);
});
