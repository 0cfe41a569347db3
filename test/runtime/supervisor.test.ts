/** The answers of a supervisor. */
import { describe, expect, it } from 'vitest';
import type { SessionId } from '../../src/core/ids.ts';
import type { Actor } from '../../src/core/model/session.ts';
import { RECORDING } from '../../src/lib/limits/storage-limits.ts';
import type { Rooms } from '../../src/ports/rooms.ts';
import { Supervisor } from '../../src/runtime/supervisor.ts';
import type { SupervisorDeps } from '../../src/runtime/supervisor-deps.ts';
import { settled, WARM_PROFILE, WarmRig } from '../support/workers/warm-rig.ts';

const ANN: Actor = { kind: 'token', name: 'ann' };

/** A supervisor that is not started. It takes requests and recovers no session. */
function open(more: Partial<SupervisorDeps> = {}): { rig: WarmRig; supervisor: Supervisor } {
  const rig = new WarmRig({ profile: { ...WARM_PROFILE, warm: 0 } });
  const rest: Partial<SupervisorDeps> = { cleanup: { unmanaged: [], graceMs: 0 }, ...more };
  return { rig, supervisor: new Supervisor({ ...rig.deps(), ...rest }) };
}

describe('a release of many sessions', () => {
  it.each([
    [{}],
    [{ held: false }],
  ])('with the filter %j releases all sessions, and is refused without `all`', async (filter) => {
    const { supervisor } = open();
    const request = { filter, dryRun: true, detail: undefined };
    await expect(supervisor.releaseMany({ ...request, all: false }, ANN)).rejects.toMatchObject({
      code: 'invalid_request',
    });
    expect(await supervisor.releaseMany({ ...request, all: true }, ANN)).toEqual([]);
  });
});

describe('a session that is released while its worker token is made', () => {
  it('starts no worker and is over at once', async () => {
    const token = Promise.withResolvers<string>();
    const rooms = {
      url: 'ws://livekit',
      workerToken: () => token.promise,
      status: () => null,
      follow: () => undefined,
      unfollow: () => undefined,
      poll: () => undefined,
      removeAgent: () => Promise.resolve({ outcome: 'done', detail: null }),
      closeRoom: () => Promise.resolve({ outcome: 'done', detail: null }),
    };
    const { rig, supervisor } = open({ rooms: rooms as unknown as Rooms });
    const request = { room: 'r', agent: 'default', metadata: {}, labels: {}, limits: {} };
    const { session } = await supervisor.dispatch(request as never, ANN);
    await supervisor.release(session.id, ANN, null);
    token.resolve('t');
    await settled();
    await rig.advance(RECORDING.gatherMs);
    expect(rig.callsOf('spawn')).toEqual([]);
    expect(rig.saved.get(session.id as SessionId)?.phase).toMatchObject({
      ladder: { process: { step: 'over' } },
    });
  });
});

describe('the answer to a request', () => {
  it('shows the result of that request, also while another change of the session is recorded', async () => {
    const { rig, supervisor } = open();
    const request = { room: 'r', agent: 'default', metadata: {}, labels: {}, limits: {} };
    const { session } = await supervisor.dispatch(request as never, ANN);
    await settled();
    const record = Promise.withResolvers<void>();
    rig.onSave = () => record.promise;
    const releasing = supervisor.release(session.id, ANN, null);
    const patching = supervisor.setMetadata(session.id, { lang: 'fr' }, ANN);
    await settled();
    record.resolve();
    expect(await patching).toMatchObject({ metadata: { lang: 'fr' } });
    expect(await releasing).toMatchObject({ state: 'closing' });
  });
});
