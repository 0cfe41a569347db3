/** Rounds of looks against a scripted server: answers that do not agree, one room's trouble, many rooms. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PRESENCE } from '../../../src/lib/limits/room-limits.ts';
import { freePorts } from '../../support/lib/free-ports.ts';
import { until } from '../../support/lib/wait.ts';
import { Watcher } from '../../support/livekit/rooms-watcher.ts';
import type { Script } from '../../support/livekit/scripted-room-service.ts';
import { Twirp } from '../../support/livekit/scripted-room-service.ts';

const KEYS = { apiKey: 'key', apiSecret: 'a-secret-that-is-long-enough-for-hs256' };
const SELDOM_MS = 600_000;

const people = (...identities: string[]) => ({
  body: {
    participants: identities.map((identity) => ({ identity, sid: `PA_${identity}`, state: 'ACTIVE' })),
  },
});
const rooms = (sids: Record<string, string>, names: readonly string[] = []) => ({
  body: {
    rooms: Object.entries(sids)
      .filter(([name]) => names.includes(name))
      .map(([name, sid]) => ({ name, sid, creation_time_ms: '1700000000000' })),
  },
});

describe('rounds of looks', () => {
  let twirp: Twirp;
  let watcher: Watcher;
  const script: Script = (method, { names }) =>
    method === 'ListRooms' ? rooms({ one: 'RM_1', two: 'RM_2' }, names) : people('ann');

  beforeEach(async () => {
    twirp = await Twirp.start(script);
  });

  afterEach(async () => {
    await watcher.close();
    twirp.close();
  });

  const watch = (names: readonly string[], { url = twirp.url, pollEveryMs = 100 } = {}) => {
    watcher = new Watcher({ livekit: { url, ...KEYS }, pollEveryMs });
    for (const name of names) watcher.follow(name);
    return watcher.start();
  };

  it('tell every followed room, there or not, after it was said that LiveKit is there', async () => {
    watch(['one', 'two', 'none']);
    const look = await watcher.sees('one', () => true);
    expect(look).toMatchObject({
      roomSid: 'RM_1',
      roomCreatedWallMs: 1_700_000_000_000,
      participants: [{ identity: 'ann' }],
    });
    await watcher.sees('two', ({ roomSid }) => roomSid === 'RM_2');
    expect(await watcher.sees('none', () => true)).toMatchObject({ roomSid: null, participants: [] });
    expect(watcher.told[0]).toEqual({ kind: 'reachable', reachable: true });
    expect(watcher.told.filter(({ kind }) => kind === 'reachable')).toHaveLength(1);
  });

  it('never tell participants of a newer room under the sid of the older one', async () => {
    let lists = 0;
    twirp.script = (method, { names }) => {
      if (method !== 'ListRooms') return people(lists < 2 ? 'of either' : 'of the newer');
      lists += 1;
      return rooms({ one: lists === 1 ? 'RM_old' : 'RM_new' }, names);
    };
    watch(['one'], { pollEveryMs: SELDOM_MS });
    // The round told nothing of it, but it was asked again at once.
    await watcher.sees('one', () => true);
    expect(watcher.looks('one')).toMatchObject([
      { roomSid: 'RM_new', participants: [{ identity: 'of the newer' }] },
    ]);
  });

  it('tell of a room that went between the two questions that it is gone', async () => {
    let lists = 0;
    twirp.script = (method, { names }) => {
      if (method !== 'ListRooms') return people();
      lists += 1;
      return rooms(lists === 1 ? { one: 'RM_1' } : {}, names);
    };
    watch(['one'], { pollEveryMs: SELDOM_MS });
    expect(await watcher.sees('one', () => true)).toMatchObject({ roomSid: null, participants: [] });
  });

  it('claim nothing newer than their question, and a look asked for meanwhile is a question of its own', async () => {
    const held = Promise.withResolvers<void>();
    let asked = 0;
    twirp.script = async (method, ask) => {
      if (method !== 'ListRooms') asked += 1;
      if (method !== 'ListRooms' && asked === 1) await held.promise;
      return script(method, ask);
    };
    watch([], { pollEveryMs: SELDOM_MS });
    const room = watcher.follow('one');
    await watcher.reaches(true);
    watcher.rooms.poll(room);
    await until('the question is under way', () => asked === 1);
    const between = watcher.clock.now().bootMs;
    watcher.rooms.poll(room);
    watcher.rooms.poll(room);
    watcher.rooms.poll(room);
    held.resolve();
    await until('two looks', () => watcher.looks('one').length === 2);
    const [first, second] = watcher.looks('one').map(({ asOf }) => asOf.bootMs);
    expect(first).toBeLessThan(between);
    expect(second).toBeGreaterThanOrEqual(between);
    expect(asked).toBe(2);
  });

  it('look at a thousand rooms with few questions at a time, and let a look that is asked for go first', async () => {
    const names = Array.from({ length: 1000 }, (_, index) => `room ${index}`);
    const sids = Object.fromEntries(names.map((name) => [name, `RM of ${name}`]));
    let listed = 0;
    let largest = 0;
    twirp.script = (method, ask) => {
      largest = Math.max(largest, ask.names?.length ?? 0);
      if (method !== 'ListRooms') listed += 1;
      if (method !== 'ListRooms' && listed === 1)
        watcher.rooms.poll({ project: 'default', name: 'room 999' });
      return method === 'ListRooms' ? rooms(sids, ask.names) : people('ann');
    };
    watch(names, { pollEveryMs: SELDOM_MS });
    await until(
      'all are seen',
      () => new Set(watcher.told.map((one) => 'room' in one && one.room)).size > 1000,
    );
    const order = watcher.told.flatMap((one) => (one.kind === 'look' ? [one.room] : []));
    expect(order.length).toBe(1000);
    expect(order.indexOf('room 999')).toBeLessThan(2 * PRESENCE.sliceRooms);
    expect(twirp.mostOpen).toBeLessThanOrEqual(PRESENCE.parallel);
    expect(largest).toBeLessThanOrEqual(2 * PRESENCE.sliceRooms);
  });

  it("tell of the others when one room's participants cannot be said, and name the trouble until it is over", async () => {
    let broken = true;
    twirp.script = (method, ask) =>
      broken && ask.room === 'two'
        ? { status: 503, body: { code: 'unavailable', msg: 'no answer from the node of room two' } }
        : script(method, ask);
    watch(['one', 'two']);
    await watcher.sees('one', () => true);
    await watcher.sees('one', () => true);
    expect(watcher.looks('two')).toEqual([]);
    expect(watcher.rooms.status()).toMatchObject({
      reachable: true,
      lastError: 'of one room: LiveKit answered 503 unavailable',
    });
    broken = false;
    await watcher.sees('two', () => true);
    await until('no more trouble', () => watcher.rooms.status()?.lastError === null);
    expect(watcher.told.filter(({ kind }) => kind === 'reachable')).toHaveLength(1);
  });

  it('take one room that never answers for one room, not for LiveKit', async () => {
    twirp.script = (method, ask) => (ask.room === 'two' ? 'never' : script(method, ask));
    watch(['one', 'two']);
    await watcher.sees('one', () => true, PRESENCE.requestTimeoutMs * 2);
    expect(watcher.looks('two')).toEqual([]);
    expect(watcher.rooms.status()).toMatchObject({
      reachable: true,
      lastError: 'of one room: LiveKit did not answer in time',
    });
  });

  it('tell nothing of a round that LiveKit did not answer to its end', async () => {
    let away = false;
    twirp.script = (method, ask) => {
      if (method !== 'ListRooms' && ask.room === 'one') away = true;
      return away ? { status: 500, body: { code: 'internal', msg: 'secret' } } : script(method, ask);
    };
    watch(['one', 'two']);
    await watcher.reaches(false);
    expect(watcher.told.filter(({ kind }) => kind === 'look')).toEqual([]);
    expect(watcher.rooms.status()?.lastError).toBe('LiveKit answered 500 internal');
  });

  it('make no storm of looks that are asked for while LiveKit is away', async () => {
    let asked = 0;
    twirp.script = () => {
      asked += 1;
      return { status: 503, body: { code: 'unavailable' } };
    };
    watch([], { pollEveryMs: 300 });
    const room = watcher.follow('one');
    await watcher.reaches(false);
    const before = asked;
    let looks = 0;
    await until('three more rounds', () => {
      looks += 10;
      for (let index = 0; index < 10; index += 1) watcher.rooms.poll(room);
      return asked >= before + 3;
    });
    expect(looks).toBeGreaterThan(20);
  });

  it('are told to nobody who does not follow any more, nor after the end', async () => {
    watch(['one', 'two']);
    await watcher.sees('one', () => true);
    watcher.rooms.unfollow({ project: 'default', name: 'one' });
    const before = watcher.looks('one').length;
    await watcher.sees('two', () => true);
    await watcher.sees('two', () => true);
    expect(watcher.looks('one').length).toBe(before);
    await watcher.close();
    const told = watcher.told.length;
    await until('nothing is asked any more', () => twirp.open === 0);
    expect(watcher.told.length).toBe(told);
  });

  it.each([
    ['a page', { body: '<html>Welcome</html>' }, "the answer is not LiveKit's: is livekit.url right?"],
    ['other JSON', { body: { rooms: 5 } }, "the answer is not LiveKit's: is livekit.url right?"],
    ['404 with a page', { status: 404, body: '<html>' }, "the answer 404 is not LiveKit's"],
    ['502 with a page', { status: 502, body: '<html>' }, "the answer 502 is not LiveKit's"],
    ['401', { status: 401, body: 'invalid token: eyJ.a.b' }, 'livekit.api_secret must be a pair'],
    ['never', 'never', 'LiveKit did not answer in time'],
  ] as const)('say in words for a person what is wrong with a server that answers %s', async (_, reply, words) => {
    twirp.script = () => reply;
    watch(['one']);
    await watcher.reaches(false);
    expect(watcher.rooms.status()?.lastError).toContain(words);
    expect(watcher.rooms.status()?.lastError).not.toContain('eyJ');
    expect(watcher.looks('one')).toEqual([]);
  });

  it.each([
    ['nothing listens', async () => `ws://127.0.0.1:${(await freePorts(1))[0]}`, 'ECONNREFUSED'],
    ['there is no such host', async () => 'wss://livekit.invalid', 'cannot be reached: E'],
    ['TLS meets none', async () => twirp.url.replace('ws:', 'wss:'), 'cannot be reached: E'],
    ['it is no URL', async () => 'livekit', 'Invalid URL'],
  ])('say it where %s', async (_, url, words) => {
    watch(['one'], { url: await url() });
    await watcher.reaches(false);
    expect(watcher.rooms.status()?.lastError).toContain(words);
  });
});
