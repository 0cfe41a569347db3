/** A hundred calls: curfew ends a few lost ones, and holds many that are lost at once. The test kills real participants with SIGKILL. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';

const CALLS = 100;
const MANY = 60;
const FEW = 3;
const AT_ONCE = 10;
/** Because: on a busy machine LiveKit's client sometimes loses one of a hundred participants. */
const JOIN_ATTEMPTS = 3;

describe.runIf(HAS_LIVEKIT)('a mass end', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  const phones: Callers[] = [];

  beforeAll(async () => {
    livekit = await LiveKit.start();
    const dir = new Daemon({ config: {} });
    daemon = new Daemon({
      dir: dir.dir,
      config: {
        ...livekit.config(dir.socket),
        presence: { poll_interval: '1s' },
        limits: { sessions: 200, start_rate: '1000/s' },
        agents: { default: { command: ['sleep', '1000'], start_timeout: '1h' } },
      },
    });
    await daemon.start();
  });

  afterAll(async () => {
    for (const phone of phones) phone.kill();
    await daemon?.close();
    await livekit?.close();
  });

  /** The caller joins before the dispatch. Because: on a busy machine a slow join would look like a lost caller. */
  const call = async (phone: Callers, index: number) => {
    const room = `call ${index}`;
    await phone.join(room, 'ann', { audio: false });
    const { body } = await daemon.dispatch({ room, limits: { callersLostMs: 5000 } });
    const isSeen = async () => (await daemon.session(body.id)).presence?.callers === 1;
    const isThere = async () =>
      (await livekit.rooms.listParticipants(room)).some(({ identity }) => identity === 'ann');
    for (let attempt = 1; attempt <= JOIN_ATTEMPTS; attempt += 1) {
      await until(
        'curfew sees the callers that LiveKit has',
        async () => (await isSeen()) || !(await isThere()),
      );
      if (await isSeen()) return body.id;
      await phone.join(room, 'ann', { audio: false });
    }
    throw new Error(`the caller of ${room} joined ${JOIN_ATTEMPTS} times and was never seen`);
  };
  const connect = async (from: number, count: number) => {
    const phone = new Callers(livekit);
    phones.push(phone);
    const indices = Array.from({ length: count }, (_, offset) => from + offset);
    const ids: string[] = [];
    for (let at = 0; at < count; at += AT_ONCE) {
      ids.push(...(await Promise.all(indices.slice(at, at + AT_ONCE).map((index) => call(phone, index)))));
    }
    return { phone, ids };
  };

  it(`of ${CALLS} calls ${FEW} lost ones end, ${MANY} lost at once are held and named, and a person can release them`, async () => {
    const few = await connect(0, FEW);
    const many = await connect(FEW, MANY);
    const rest = await connect(FEW + MANY, CALLS - FEW - MANY);
    few.phone.kill();
    for (const id of few.ids)
      expect(await daemon.ended(id, 60_000)).toMatchObject({ reason: 'callers_left' });

    many.phone.kill();
    const held = async () => (await daemon.get<CapacityView>('/v1/capacity')).body.held;
    await until(`all ${MANY} sessions are held`, async () => (await held()).length === MANY, 60_000);
    expect((await held()).map((one) => one.session).sort()).toEqual([...many.ids].sort());
    const states = await Promise.all(
      [...many.ids, ...rest.ids].map(async (id) => (await daemon.session(id)).state),
    );
    expect(new Set(states)).toEqual(new Set(['live']));

    const released = await daemon.call<{ sessions: unknown[] }>('POST', '/v1/sessions/release', {
      filter: { held: true },
    });
    expect(released.body.sessions).toHaveLength(MANY);
    for (const id of many.ids) expect(await daemon.ended(id)).toMatchObject({ reason: 'requested' });
  });
});
