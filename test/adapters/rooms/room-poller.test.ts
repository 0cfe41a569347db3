/** Poll rounds against a scripted server: contradicting answers, one failing room, many rooms. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PRESENCE, REMOVED } from '../../../src/lib/limits/room-limits.ts';
import { freePorts } from '../../support/lib/free-ports.ts';
import { until } from '../../support/lib/wait.ts';
import { RoomsWatcher } from '../../support/livekit/rooms-watcher.ts';
import type { Script } from '../../support/livekit/scripted-room-service.ts';
import { ScriptedRoomService } from '../../support/livekit/scripted-room-service.ts';

const KEYS = { apiKey: 'key', apiSecret: 'a-secret-that-is-long-enough-for-hs256' };
const SELDOM_MS = 600_000;

const participantsReply = (...identities: string[]) => ({
  body: {
    participants: identities.map((identity) => ({ identity, sid: `PA_${identity}`, state: 'ACTIVE' })),
  },
});
const roomsReply = (sids: Record<string, string>, names: readonly string[] = []) => ({
  body: {
    rooms: Object.entries(sids)
      .filter(([name]) => names.includes(name))
      .map(([name, sid]) => ({ name, sid, creation_time_ms: '1700000000000' })),
  },
});

async function urlWithoutServer(): Promise<string> {
  const [port] = await freePorts(1);
  return `ws://127.0.0.1:${port}`;
}

describe('a poll round', () => {
  let service: ScriptedRoomService;
  let watcher: RoomsWatcher;
  const script: Script = (method, { names }) =>
    method === 'ListRooms' ? roomsReply({ one: 'RM_1', two: 'RM_2' }, names) : participantsReply('ann');

  beforeEach(async () => {
    service = await ScriptedRoomService.start(script);
  });

  afterEach(async () => {
    await watcher.close();
    service.close();
  });

  const watch = (names: readonly string[], { url = service.url, pollEveryMs = 100 } = {}) => {
    watcher = new RoomsWatcher({ livekit: { url, ...KEYS }, pollEveryMs });
    for (const name of names) watcher.follow(name);
    return watcher.start();
  };

  it('reports LiveKit as reachable first, then every followed room, existing or missing', async () => {
    watch(['one', 'two', 'none']);
    const snapshot = await watcher.nextSnapshot('one', () => true);
    expect(snapshot).toMatchObject({
      roomSid: 'RM_1',
      roomCreatedWallMs: 1_700_000_000_000,
      participants: [{ identity: 'ann' }],
    });
    await watcher.nextSnapshot('two', ({ roomSid }) => roomSid === 'RM_2');
    expect(await watcher.nextSnapshot('none', () => true)).toMatchObject({ roomSid: null, participants: [] });
    const [firstReport] = watcher.reports;
    expect(firstReport).toEqual({ kind: 'reachable', reachable: true });
    expect(watcher.reports.filter(({ kind }) => kind === 'reachable')).toHaveLength(1);
  });

  it('polls a rarely followed room in some rounds, and at once on request', async () => {
    watcher = new RoomsWatcher({ livekit: { url: service.url, ...KEYS }, pollEveryMs: 50 });
    watcher.follow('two');
    watcher.rooms.follow({ project: 'default', name: 'one' }, 'rarely');
    watcher.start();
    await until('some rounds', () => watcher.snapshotsOf('two').length >= 4 * REMOVED.everyRounds);
    const rare = watcher.snapshotsOf('one').length;
    expect(rare).toBeGreaterThanOrEqual(3);
    expect(rare).toBeLessThanOrEqual(watcher.snapshotsOf('two').length / 2);
    watcher.rooms.follow({ project: 'default', name: 'one' });
    const from = watcher.snapshotsOf('two').length;
    await until('more rounds', () => watcher.snapshotsOf('two').length >= from + 4);
    expect(watcher.snapshotsOf('one').length).toBeGreaterThanOrEqual(rare + 3);
  });

  it('a removal refuses tokens that are older than this second, and none that is newer', async () => {
    let body: object = {};
    service.script = (_, request) => {
      body = request;
      return { body: {} };
    };
    watch([]);
    const before = Math.floor(watcher.clock.now().wallMs / 1000);
    const room = { project: 'default', name: 'one' };
    await watcher.rooms.removeAgent({ do: 'remove_agent', room, identity: 'agent-1', boundMs: 5000 });
    const { revokeTokenTs } = body as { revokeTokenTs?: string };
    expect(Number(revokeTokenTs)).toBeGreaterThanOrEqual(before);
    expect(Number(revokeTokenTs)).toBeLessThanOrEqual(watcher.clock.now().wallMs / 1000);
  });

  it('never reports participants of a new room under the sid of the old room', async () => {
    let lists = 0;
    service.script = (method, { names }) => {
      if (method !== 'ListRooms') return participantsReply(lists < 2 ? 'in either room' : 'in the new room');
      lists += 1;
      return roomsReply({ one: lists === 1 ? 'RM_old' : 'RM_new' }, names);
    };
    watch(['one'], { pollEveryMs: SELDOM_MS });
    // The round reports nothing about this room and polls the room again at once.
    await watcher.nextSnapshot('one', () => true);
    expect(watcher.snapshotsOf('one')).toMatchObject([
      { roomSid: 'RM_new', participants: [{ identity: 'in the new room' }] },
    ]);
  });

  it('reports a room as gone when the room closes between the two requests', async () => {
    let lists = 0;
    service.script = (method, { names }) => {
      if (method !== 'ListRooms') return participantsReply();
      lists += 1;
      return roomsReply(lists === 1 ? { one: 'RM_1' } : {}, names);
    };
    watch(['one'], { pollEveryMs: SELDOM_MS });
    expect(await watcher.nextSnapshot('one', () => true)).toMatchObject({ roomSid: null, participants: [] });
  });

  it('dates a snapshot by its request, and answers a later request with a poll of its own', async () => {
    const held = Promise.withResolvers<void>();
    let requests = 0;
    service.script = async (method, request) => {
      if (method !== 'ListRooms') requests += 1;
      if (method !== 'ListRooms' && requests === 1) await held.promise;
      return script(method, request);
    };
    watch([], { pollEveryMs: SELDOM_MS });
    const room = watcher.follow('one');
    await watcher.reaches(true);
    watcher.rooms.poll(room);
    await until('the request is in progress', () => requests === 1);
    const between = watcher.clock.now().bootMs;
    watcher.rooms.poll(room);
    watcher.rooms.poll(room);
    watcher.rooms.poll(room);
    held.resolve();
    await until('two snapshots', () => watcher.snapshotsOf('one').length === 2);
    const [first, second] = watcher.snapshotsOf('one').map(({ asOf }) => asOf.bootMs);
    expect(first).toBeLessThan(between);
    expect(second).toBeGreaterThanOrEqual(between);
    expect(requests).toBe(2);
  });

  it('polls a thousand rooms with few requests at a time, and a requested room first', async () => {
    const names = Array.from({ length: 1000 }, (_, index) => `room ${index}`);
    const sids = Object.fromEntries(names.map((name) => [name, `RM of ${name}`]));
    let listed = 0;
    let largest = 0;
    service.script = (method, request) => {
      largest = Math.max(largest, request.names?.length ?? 0);
      if (method !== 'ListRooms') listed += 1;
      if (method !== 'ListRooms' && listed === 1)
        watcher.rooms.poll({ project: 'default', name: 'room 999' });
      return method === 'ListRooms' ? roomsReply(sids, request.names) : participantsReply('ann');
    };
    watch(names, { pollEveryMs: SELDOM_MS });
    await until(
      'every room is reported',
      () => new Set(watcher.reports.map((one) => 'room' in one && one.room)).size > 1000,
    );
    const order = watcher.reports.flatMap((one) => (one.kind === 'snapshot' ? [one.room] : []));
    expect(order.length).toBe(1000);
    expect(order.indexOf('room 999')).toBeLessThan(2 * PRESENCE.sliceRooms);
    expect(service.mostOpen).toBeLessThanOrEqual(PRESENCE.parallel);
    expect(largest).toBeLessThanOrEqual(2 * PRESENCE.sliceRooms);
  });

  it('reports the other rooms when one room fails, and its status names the error until the room recovers', async () => {
    let broken = true;
    service.script = (method, request) =>
      broken && request.room === 'two'
        ? { status: 503, body: { code: 'unavailable', msg: 'no answer from the node of room two' } }
        : script(method, request);
    watch(['one', 'two']);
    await watcher.nextSnapshot('one', () => true);
    await watcher.nextSnapshot('one', () => true);
    expect(watcher.snapshotsOf('two')).toEqual([]);
    expect(watcher.rooms.status()).toMatchObject({
      reachable: true,
      lastError: 'for one room: LiveKit answered 503 unavailable',
    });
    broken = false;
    await watcher.nextSnapshot('two', () => true);
    await until('the error is cleared', () => watcher.rooms.status()?.lastError === null);
    expect(watcher.reports.filter(({ kind }) => kind === 'reachable')).toHaveLength(1);
  });

  it('treats a room that never answers as an error of that room, not of LiveKit', async () => {
    service.script = (method, request) => (request.room === 'two' ? 'never' : script(method, request));
    watch(['one', 'two']);
    await watcher.nextSnapshot('one', () => true, PRESENCE.requestTimeoutMs * 2);
    expect(watcher.snapshotsOf('two')).toEqual([]);
    expect(watcher.rooms.status()).toMatchObject({
      reachable: true,
      lastError: 'for one room: LiveKit did not answer in time',
    });
  });

  it('reports no room when LiveKit fails during the round', async () => {
    let away = false;
    service.script = (method, request) => {
      if (method !== 'ListRooms' && request.room === 'one') away = true;
      return away ? { status: 500, body: { code: 'internal', msg: 'secret' } } : script(method, request);
    };
    watch(['one', 'two']);
    await watcher.reaches(false);
    expect(watcher.reports.filter(({ kind }) => kind === 'snapshot')).toEqual([]);
    expect(watcher.rooms.status()?.lastError).toBe('LiveKit answered 500 internal');
  });

  it('sends no burst of requests for requested polls while LiveKit is away', async () => {
    let requests = 0;
    service.script = () => {
      requests += 1;
      return { status: 503, body: { code: 'unavailable' } };
    };
    watch([], { pollEveryMs: 300 });
    const room = watcher.follow('one');
    await watcher.reaches(false);
    const before = requests;
    let requestedPolls = 0;
    await until('three more rounds', () => {
      requestedPolls += 10;
      for (let index = 0; index < 10; index += 1) watcher.rooms.poll(room);
      return requests >= before + 3;
    });
    expect(requestedPolls).toBeGreaterThan(20);
  });

  it('reports no room that is no longer followed, and nothing after the close', async () => {
    watch(['one', 'two']);
    await watcher.nextSnapshot('one', () => true);
    watcher.rooms.unfollow({ project: 'default', name: 'one' });
    const before = watcher.snapshotsOf('one').length;
    await watcher.nextSnapshot('two', () => true);
    await watcher.nextSnapshot('two', () => true);
    expect(watcher.snapshotsOf('one').length).toBe(before);
    await watcher.close();
    const reported = watcher.reports.length;
    await until('no request is open', () => service.open === 0);
    expect(watcher.reports.length).toBe(reported);
  });

  it.each([
    [
      '200 with a page',
      { body: '<html>Welcome</html>' },
      'the answer is not from LiveKit; check livekit.url',
    ],
    ['other JSON than LiveKit', { body: { rooms: 5 } }, 'the answer is not from LiveKit; check livekit.url'],
    ['404 with a page', { status: 404, body: '<html>' }, 'the answer 404 is not from LiveKit'],
    ['502 with a page', { status: 502, body: '<html>' }, 'the answer 502 is not from LiveKit'],
    ['401', { status: 401, body: 'invalid token: eyJ.a.b' }, 'Check livekit.api_key and livekit.api_secret'],
    ['nothing at all', 'never', 'LiveKit did not answer in time'],
  ] as const)('names the remedy in its status for a server that answers %s', async (_, reply, words) => {
    service.script = () => reply;
    watch(['one']);
    await watcher.reaches(false);
    expect(watcher.rooms.status()?.lastError).toContain(words);
    expect(watcher.rooms.status()?.lastError).not.toContain('eyJ');
    expect(watcher.snapshotsOf('one')).toEqual([]);
  });

  it.each([
    ['no server listens', urlWithoutServer, 'ECONNREFUSED'],
    ['the host does not exist', async () => 'wss://livekit.invalid', 'cannot be reached: E'],
    ['the server has no TLS', async () => service.url.replace('ws:', 'wss:'), 'cannot be reached: E'],
    ['the URL is invalid', async () => 'livekit', 'Invalid URL'],
  ])('names the error in its status when %s', async (_, url, words) => {
    watch(['one'], { url: await url() });
    await watcher.reaches(false);
    expect(watcher.rooms.status()?.lastError).toContain(words);
  });
});
