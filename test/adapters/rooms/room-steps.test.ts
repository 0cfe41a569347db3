/** The room's last steps and the worker's token, on a real LiveKit server. */
import { TokenVerifier } from 'livekit-server-sdk';
import { WebSocket } from 'undici';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Acceptance } from '../../../src/core/model/agent-answer.ts';
import { Callers } from '../../support/callers/callers.ts';
import { until } from '../../support/lib/wait.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../../support/livekit/livekit-server.ts';
import { RoomsWatcher, roomKey } from '../../support/livekit/rooms-watcher.ts';
import { Adapters, refuse } from '../jobs/jobs-rig.ts';

const BOUND_MS = 5000;

describe.runIf(HAS_LIVEKIT)('a room step on a real LiveKit server', () => {
  let livekit: LiveKit;
  let callers: Callers;
  let watcher: RoomsWatcher;
  const sockets: WebSocket[] = [];
  const adapters = new Adapters();

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
    watcher = new RoomsWatcher({
      livekit: { url: livekit.url, apiKey: KEY, apiSecret: SECRET },
      pollEveryMs: 500,
    });
  });

  afterAll(async () => {
    for (const socket of sockets) socket.close();
    callers?.kill();
    await adapters.close();
    await watcher?.close();
    await livekit?.close();
  });

  const exists = async (name: string) => (await livekit.rooms.listRooms([name])).length === 1;
  const make = async (name: string) => (await livekit.rooms.createRoom({ name })).sid;
  const close = (name: string, roomSid: string | null, boundMs = BOUND_MS) =>
    watcher.rooms.closeRoom({ do: 'close_room', room: roomKey(name), roomSid, boundMs });
  const remove = (name: string, identity: string, boundMs = BOUND_MS) =>
    watcher.rooms.removeAgent({ do: 'remove_agent', room: roomKey(name), identity, boundMs });

  it('closes the room with the given sid', async () => {
    const sid = await make('to close');
    expect(await close('to close', sid)).toEqual({ outcome: 'done', detail: null });
    expect(await exists('to close')).toBe(false);
  });

  it('closes an empty room with the given sid, and no room with somebody in it', async () => {
    const closeEmpty = (name: string, roomSid: string) =>
      watcher.rooms.closeEmpty({ room: roomKey(name), roomSid, boundMs: BOUND_MS });
    const sid = await make('empty');
    expect(await closeEmpty('empty', 'RM_other')).toMatchObject({ outcome: 'skipped' });
    await callers.join('empty', 'ann', { audio: false });
    expect(await closeEmpty('empty', sid)).toEqual({ outcome: 'skipped', detail: 'somebody is in the room' });
    expect(await exists('empty')).toBe(true);
    await callers.leave('empty', 'ann');
    await until('it is empty', async () => (await livekit.rooms.listParticipants('empty')).length === 0);
    expect(await closeEmpty('empty', sid)).toEqual({ outcome: 'done', detail: null });
    expect(await exists('empty')).toBe(false);
  });

  it('skips the close when a newer room has the same name', async () => {
    const old = await make('renewed');
    await livekit.rooms.deleteRoom('renewed');
    await make('renewed');
    expect(await close('renewed', old)).toEqual({
      outcome: 'skipped',
      detail: 'another room has this name now',
    });
    expect(await exists('renewed')).toBe(true);
  });

  it('skips the close when the sid is unknown and a room of the name exists', async () => {
    await make('unknown sid');
    expect(await close('unknown sid', null)).toMatchObject({ outcome: 'skipped' });
    expect(await exists('unknown sid')).toBe(true);
  });

  it('reports the close of a missing room as done', async () => {
    const gone = { outcome: 'done', detail: 'the room was gone already' };
    expect(await close('never was', 'RM_x')).toEqual(gone);
    expect(await close('never was', null)).toEqual(gone);
  });

  it('closes the room of a refused call unless another agent has a job there; our own job does not count', async () => {
    const takes = adapters.open({ url: livekit.url, names: ['takes'] });
    const refuses = adapters.open({ url: livekit.url, names: ['refuses'], offered: refuse });
    await until('both are registered', () => takes.isRegistered() && refuses.isRegistered());
    const [taken, refused] = [await make('taken'), await make('refused')];
    await livekit.dispatches.createDispatch('taken', 'takes');
    await livekit.dispatches.createDispatch('refused', 'refuses');
    await until('both are offered', () => takes.assigned.length > 0 && refuses.offers.length > 0);
    const jobs = async () =>
      (await livekit.dispatches.listDispatch('taken')).flatMap((one) => one.state?.jobs ?? []);
    await until('LiveKit shows it', async () => (await jobs()).length > 0, 15_000);
    const closeRefused = (name: string, roomSid: string, ownJob: string | null) =>
      watcher.rooms.closeRefused({ room: roomKey(name), roomSid, ownJob, boundMs: BOUND_MS });
    expect(await closeRefused('taken', taken, 'AJ_another')).toMatchObject({ outcome: 'skipped' });
    expect(await exists('taken')).toBe(true);
    expect(await closeRefused('refused', refused, null)).toEqual({ outcome: 'done', detail: null });
    const [ownJob = ''] = takes.assigned;
    expect(await closeRefused('taken', taken, ownJob)).toMatchObject({ outcome: 'done' });
    expect(await exists('taken')).toBe(false);
  });

  it('removes the agent and no other participant', async () => {
    await callers.join('with agent', 'ours', { kind: 'agent', audio: false });
    await callers.join('with agent', 'ann', { audio: false });
    expect(await remove('with agent', 'ours')).toEqual({ outcome: 'done', detail: null });
    await until('only the caller is there', async () => {
      const there = await livekit.rooms.listParticipants('with agent');
      return there.length === 1 && there.some(({ identity }) => identity === 'ann');
    });
    const again = { outcome: 'done', detail: 'the agent was not in the room' };
    expect(await remove('with agent', 'ours')).toEqual(again);
    expect(await remove('no such room', 'ours')).toEqual(again);
  });

  it('ends within its bound while LiveKit hangs, and reports a failure when LiveKit is gone', async () => {
    onTestFinished(async () => {
      await livekit.kill();
      await livekit.boot();
    });
    const sid = await make('hanging');
    await livekit.suspend();
    const before = performance.now();
    const stuck = { outcome: 'timeout', detail: 'LiveKit did not answer in time' };
    expect(await Promise.all([close('hanging', sid, 400), remove('hanging', 'ours', 400)])).toEqual([
      stuck,
      stuck,
    ]);
    // The bound of 400 ms is under test. The other 2 s allow for a busy machine.
    expect(performance.now() - before).toBeLessThan(400 + 2000);
    livekit.resume();
    await livekit.kill();
    // The error is a refused connection or the end of a kept connection.
    const failed = {
      outcome: 'failed',
      detail: expect.stringMatching(/^LiveKit cannot be reached: (E|UND_ERR_SOCKET$)/),
    };
    expect(await close('hanging', sid)).toEqual(failed);
    expect(await remove('hanging', 'ours')).toEqual(failed);
  });

  describe("with the worker's token", () => {
    const tokenFor = (name: string, ttlMs = 60_000) =>
      watcher.rooms.workerToken({ room: roomKey(name), identity: 'agent-1', ttlMs });
    const call = async (method: string, body: object, token: string) => {
      const url = `http://127.0.0.1:${livekit.port}/twirp/livekit.RoomService/${method}`;
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
      return (await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })).status;
    };
    /** Resolves when LiveKit took the WebSocket. */
    const connect = (path: string, token: string) =>
      new Promise<void>((resolve, reject) => {
        const socket = new WebSocket(`${livekit.url}/${path}`, {
          headers: { authorization: `Bearer ${token}` },
        });
        sockets.push(socket);
        socket.addEventListener('open', () => resolve());
        socket.addEventListener('error', () => reject(new Error('refused')));
      });

    it("has the grant agent only where the agent's acceptance brings it", async () => {
      const grants = async (agentGrant: boolean) => {
        const person = { identity: '', name: '', metadata: '', attributes: {}, permissions: null };
        const as: Acceptance = { kind: 'accepted', ...person, agentGrant };
        const grant = { room: roomKey('r'), identity: 'agent-1', ttlMs: 1000, as };
        const { video } = await new TokenVerifier(KEY, SECRET).verify(await watcher.rooms.workerToken(grant));
        return video?.agent;
      };
      expect([await grants(true), await grants(false)]).toEqual([true, undefined]);
    });

    it('is signed for the requested lifetime in whole seconds, never for the default of hours', async () => {
      const lives = async (ttlMs: number) => {
        const { exp = 0, nbf = 0 } = (await new TokenVerifier(KEY, SECRET).verify(
          await tokenFor('r', ttlMs),
        )) as { exp?: number; nbf?: number };
        return exp - nbf;
      };
      expect([await lives(1), await lives(59_001), await lives(7_200_000)]).toEqual([1, 60, 7200]);
    });

    it('joins its room as an agent without the grant to take jobs', async () => {
      const name = 'Straße 📞';
      await callers.joinWith(name, 'agent-1', await tokenFor(name));
      const [agent] = await livekit.rooms.listParticipants(name);
      expect(agent).toMatchObject({ identity: 'agent-1', kind: 4, permission: { agent: false } });
    });

    it('joins its own room, also when the request names another room', async () => {
      const token = await tokenFor('mine');
      await make('other');
      await connect(`rtc?access_token=${token}&room=other&protocol=16`, token);
      await until('it is in its own room', () => exists('mine'));
      expect(await livekit.rooms.listParticipants('other')).toEqual([]);
    });

    it('is refused by the rooms API and as a registration for jobs', async () => {
      const token = await tokenFor('mine');
      const asked = [
        call('ListRooms', {}, token),
        call('CreateRoom', { name: 'new' }, token),
        call('DeleteRoom', { room: 'mine' }, token),
        call('ListParticipants', { room: 'mine' }, token),
        call('RemoveParticipant', { room: 'mine', identity: 'ann' }, token),
      ];
      expect(new Set(await Promise.all(asked))).toEqual(new Set([401]));
      expect(await exists('new')).toBe(false);
      await expect(connect('agent', token)).rejects.toThrow('refused');
      // With the agent grant, which the token above lacks, LiveKit accepts the same connection.
      await connect('agent', await livekit.token('mine', { identity: 'agent-1', grant: { agent: true } }));
    });
  });
});
