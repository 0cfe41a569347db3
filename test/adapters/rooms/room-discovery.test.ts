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

describe.runIf(HAS_LIVEKIT)('rooms on LiveKit', () => {
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
    const looks = new Map<string, RoomSnapshot[]>();
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
      snapshot: (room, look) => looks.set(room.name, [...(looks.get(room.name) ?? []), look]),
      event: (_room, event) => events.push(event),
      reachable: (answer) => reachable.push(answer),
      found: (room) => found.push(room.name),
    });
    return { rooms, looks, events, reachable, found, last: (name: string) => looks.get(name)?.at(-1) };
  };

  it('looks at the rooms it follows, those that exist and those that do not', async () => {
    const { rooms, last, looks } = open();
    rooms.follow(key('looked'));
    rooms.follow(key('not there'));
    await callers.join('looked', 'ann');
    await until('ann is seen with her track', () =>
      last('looked')?.participants.some((one) => one.identity === 'ann' && one.audioTracks === 1),
    );
    expect(last('looked')).toMatchObject({
      roomSid: expect.stringMatching(/^RM_/),
      participants: [{ kind: 'standard', hidden: false, agentGrant: false }],
    });
    expect(last('not there')).toMatchObject({ roomSid: null, participants: [] });
    const [first, second] = looks.get('looked') ?? [];
    expect(second?.asOf.bootMs).toBeGreaterThan(first?.asOf.bootMs ?? Number.POSITIVE_INFINITY);
    rooms.unfollow(key('looked'));
    await callers.leave('looked', 'ann');
  });

  it('answers a look with a question asked after it', async () => {
    const clock = createClock();
    const { rooms, last } = open();
    rooms.follow(key('asked'));
    await until('a first look', () => last('asked'));
    const askedMs = clock.now().bootMs;
    rooms.poll(key('asked'));
    await until('a newer look', () => (last('asked')?.asOf.bootMs ?? 0) >= askedMs);
  });

  it('says when LiveKit is away and back, and looks at nothing meanwhile', async () => {
    const own = await LiveKit.start();
    const { rooms, reachable, looks } = open({ url: own.url });
    rooms.follow(key('r'));
    await until('it answers', () => reachable.at(-1) === true);
    await own.kill();
    await until('it is away', () => reachable.at(-1) === false);
    const before = looks.get('r')?.length;
    expect(rooms.status()).toMatchObject({ reachable: false, lastError: expect.any(String) });
    await own.boot();
    await until('it is back', () => reachable.at(-1) === true);
    expect(reachable).toEqual([true, false, true]);
    await until('it looks again', () => (looks.get('r')?.length ?? 0) > (before ?? 0));
    await own.close();
  });

  it('takes a refused key for "does not answer", with what LiveKit said', async () => {
    const { rooms, reachable } = open({ apiSecret: 'wrong-secret-that-is-long-enough-for-it' });
    await until('it is refused', () => reachable.at(-1) === false);
    expect(rooms.status()?.lastError).toBeTruthy();
    expect(rooms.status()?.lastError).not.toContain('wrong-secret');
  });

  it('gives a worker a token for its own room only, and LiveKit takes it for an agent', async () => {
    const { rooms, last } = open();
    const token = await rooms.workerToken({ room: key('own'), identity: 'agent-1', ttlMs: 60_000 });
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
      video: object;
      kind: string;
    };
    expect(claims).toMatchObject({ sub: 'agent-1', kind: 'agent', video: { room: 'own', roomJoin: true } });
    expect(claims.video).not.toHaveProperty('roomAdmin');
    rooms.follow(key('own'));
    await callers.joinWith('own', 'agent-1', token);
    await until(
      'it is there as an agent',
      () => last('own')?.participants.find((one) => one.identity === 'agent-1')?.kind === 'agent',
    );
    await callers.leave('own', 'agent-1');
  });

  it('removes an agent, also one that is gone already', async () => {
    const { rooms, last } = open();
    rooms.follow(key('removing'));
    await callers.join('removing', 'agent-2', { kind: 'agent', audio: false });
    await until('it is there', () => last('removing')?.participants.length === 1);
    const effect = { do: 'remove_agent', room: key('removing'), identity: 'agent-2', boundMs: 5000 } as const;
    expect(await rooms.removeAgent(effect)).toEqual({ outcome: 'done', detail: null });
    expect(await rooms.removeAgent({ ...effect, identity: 'nobody' })).toMatchObject({ outcome: 'done' });
  });

  it('closes only the room that was meant', async () => {
    const { rooms, last } = open();
    rooms.follow(key('closing'));
    await callers.join('closing', 'ann', { audio: false });
    const look = await until('it is there', () => (last('closing')?.roomSid ? last('closing') : null));
    const effect = { do: 'close_room', room: key('closing'), boundMs: 5000 } as const;
    expect(await rooms.closeRoom({ ...effect, roomSid: 'RM_older' })).toMatchObject({ outcome: 'skipped' });
    expect(await rooms.closeRoom({ ...effect, roomSid: look.roomSid })).toMatchObject({
      outcome: 'done',
      detail: null,
    });
    expect(await rooms.closeRoom({ ...effect, roomSid: look.roomSid })).toMatchObject({
      outcome: 'done',
      detail: 'the room was gone already',
    });
  });

  it('a step on a LiveKit that is away is over in its bound', async () => {
    const { rooms } = open({ url: 'ws://127.0.0.1:1' });
    expect(
      await rooms.removeAgent({ do: 'remove_agent', room: key('x'), identity: 'a', boundMs: 1000 }),
    ).toMatchObject({ outcome: expect.stringMatching(/failed|timeout/) });
  });
});
