/** The Rooms port on a real LiveKit server. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRooms } from '../../../src/adapters/livekit/rooms/livekit-rooms.ts';
import { createClock } from '../../../src/adapters/telemetry/boot-clock.ts';
import type { RoomKey } from '../../../src/core/ids.ts';
import type { RoomSnapshot, RoomWebhook } from '../../../src/core/rooms/presence.ts';
import type { Rooms } from '../../../src/ports/rooms.ts';
import { Callers } from '../../support/callers/callers.ts';
import { until } from '../../support/lib/wait.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../../support/livekit/livekit-server.ts';

const key = (name: string): RoomKey => ({ project: 'default', name });

describe.runIf(HAS_LIVEKIT)('the rooms adapter on a real LiveKit server', () => {
  let livekit: LiveKit;
  let callers: Callers;
  const opened: Rooms[] = [];

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
  });

  afterAll(async () => {
    for (const rooms of opened) await rooms.close();
    callers?.kill();
    await livekit?.close();
  });

  const open = (more: { url?: string; apiSecret?: string } = {}) => {
    const snapshots = new Map<string, RoomSnapshot[]>();
    const events: RoomWebhook[] = [];
    const found: string[] = [];
    const reachable: boolean[] = [];
    const rooms = createRooms({
      livekit: { url: livekit.url, apiKey: KEY, apiSecret: SECRET, ...more },
      clock: createClock(),
      pollEveryMs: 200,
    });
    opened.push(rooms);
    rooms.start({
      snapshot: (room, snapshot) => snapshots.set(room.name, [...(snapshots.get(room.name) ?? []), snapshot]),
      event: (_room, event) => events.push(event),
      reachable: (answer) => reachable.push(answer),
      found: (room) => found.push(room.name),
    });
    const latest = (name: string) => snapshots.get(name)?.at(-1);
    const latestReachable = () => reachable.at(-1);
    return { rooms, snapshots, events, reachable, latestReachable, found, latest };
  };

  it('polls the rooms that it follows, existing and missing ones', async () => {
    const { rooms, latest, snapshots } = open();
    rooms.follow(key('polled'));
    rooms.follow(key('not there'));
    await callers.join('polled', 'ann');
    await until('ann is seen with her track', () =>
      latest('polled')?.participants.some((one) => one.identity === 'ann' && one.audioTracks === 1),
    );
    expect(latest('polled')).toMatchObject({
      roomSid: expect.stringMatching(/^RM_/),
      participants: [{ kind: 'standard', hidden: false, agentGrant: false }],
    });
    expect(latest('not there')).toMatchObject({ roomSid: null, participants: [] });
    const [first, second] = snapshots.get('polled') ?? [];
    expect(second?.asOf.bootMs).toBeGreaterThan(first?.asOf.bootMs ?? Number.POSITIVE_INFINITY);
    rooms.unfollow(key('polled'));
    await callers.leave('polled', 'ann');
  });

  it('answers a request for a snapshot with a poll that starts after the request', async () => {
    const clock = createClock();
    const { rooms, latest } = open();
    rooms.follow(key('asked'));
    await until('a first snapshot', () => latest('asked'));
    const requestedMs = clock.now().bootMs;
    rooms.poll(key('asked'));
    await until('a newer snapshot', () => (latest('asked')?.asOf.bootMs ?? 0) >= requestedMs);
  });

  it('reports the start and the end of an outage, and no snapshot in between', async () => {
    const own = await LiveKit.start();
    const { rooms, reachable, latestReachable, snapshots } = open({ url: own.url });
    rooms.follow(key('r'));
    await until('it answers', () => latestReachable() === true);
    await own.kill();
    await until('it is away', () => latestReachable() === false);
    const before = snapshots.get('r')?.length;
    expect(rooms.status()).toMatchObject({ reachable: false, lastError: expect.any(String) });
    await own.boot();
    await until('it is back', () => latestReachable() === true);
    expect(reachable).toEqual([true, false, true]);
    await until('there is a later snapshot', () => (snapshots.get('r')?.length ?? 0) > (before ?? 0));
    await own.close();
  });

  it('reports LiveKit as unreachable for a refused key, with the error and without the key', async () => {
    const { rooms, latestReachable } = open({ apiSecret: 'wrong-secret-that-is-long-enough-for-it' });
    await until('it is refused', () => latestReachable() === false);
    expect(rooms.status()?.lastError).toBeTruthy();
    expect(rooms.status()?.lastError).not.toContain('wrong-secret');
  });

  it('makes a worker token for one room, which LiveKit accepts as that of an agent', async () => {
    const { rooms, latest } = open();
    const token = await rooms.workerToken({ room: key('own'), identity: 'agent-1', ttlMs: 60_000 });
    const [, payload = ''] = token.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as {
      video: object;
      kind: string;
    };
    expect(claims).toMatchObject({ sub: 'agent-1', kind: 'agent', video: { room: 'own', roomJoin: true } });
    expect(claims.video).not.toHaveProperty('roomAdmin');
    rooms.follow(key('own'));
    await callers.joinWith('own', 'agent-1', token);
    await until(
      'it is there as an agent',
      () => latest('own')?.participants.find((one) => one.identity === 'agent-1')?.kind === 'agent',
    );
    await callers.leave('own', 'agent-1');
  });

  it('removes an agent, and reports done for an agent that has left already', async () => {
    const { rooms, latest } = open();
    rooms.follow(key('removing'));
    await callers.join('removing', 'agent-2', { kind: 'agent', audio: false });
    await until('it is there', () => latest('removing')?.participants.length === 1);
    const effect = { do: 'remove_agent', room: key('removing'), identity: 'agent-2', boundMs: 5000 } as const;
    expect(await rooms.removeAgent(effect)).toEqual({ outcome: 'done', detail: null });
    expect(await rooms.removeAgent({ ...effect, identity: 'nobody' })).toMatchObject({ outcome: 'done' });
  });

  it('closes the room with the given sid only', async () => {
    const { rooms, latest } = open();
    rooms.follow(key('closing'));
    await callers.join('closing', 'ann', { audio: false });
    const snapshot = await until('it is there', () =>
      latest('closing')?.roomSid ? latest('closing') : null,
    );
    const effect = { do: 'close_room', room: key('closing'), boundMs: 5000 } as const;
    expect(await rooms.closeRoom({ ...effect, roomSid: 'RM_older' })).toMatchObject({ outcome: 'skipped' });
    expect(await rooms.closeRoom({ ...effect, roomSid: snapshot.roomSid })).toMatchObject({
      outcome: 'done',
      detail: null,
    });
    expect(await rooms.closeRoom({ ...effect, roomSid: snapshot.roomSid })).toMatchObject({
      outcome: 'done',
      detail: 'the room was gone already',
    });
  });

  it('ends a step within its bound while LiveKit is away', async () => {
    const { rooms } = open({ url: 'ws://127.0.0.1:1' });
    expect(
      await rooms.removeAgent({ do: 'remove_agent', room: key('x'), identity: 'a', boundMs: 1000 }),
    ).toMatchObject({ outcome: expect.stringMatching(/failed|timeout/) });
  });
});
