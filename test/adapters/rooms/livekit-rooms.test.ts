/** Presence on a real LiveKit server, with real participants. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sideOf } from '../../../src/core/rooms/presence.ts';
import { Callers } from '../../support/callers/callers.ts';
import { until } from '../../support/lib/wait.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../../support/livekit/livekit-server.ts';
import { Watcher } from '../../support/livekit/rooms-watcher.ts';

/** So seldom that all that is seen was seen by a webhook. */
const SELDOM_MS = 600_000;
/** LiveKit notices a lost connection after 15 to 20 s. */
const LOST_MS = 45_000;

describe.runIf(HAS_LIVEKIT)('presence', () => {
  let livekit: LiveKit;
  let callers: Callers;
  let polling: Watcher;
  let hearing: Watcher;

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
    const access = { url: livekit.url, apiKey: KEY, apiSecret: SECRET };
    polling = new Watcher({ livekit: access, pollEveryMs: 200 }).start();
    hearing = new Watcher({
      livekit: access,
      pollEveryMs: SELDOM_MS,
      webhookPort: livekit.webhookPort,
    }).start();
    await Promise.all([polling.reaches(true), hearing.reaches(true)]);
  });

  afterAll(async () => {
    callers?.kill();
    await Promise.all([polling?.close(), hearing?.close()]);
    await livekit?.close();
  });

  const sidOf = async (room: string) => (await livekit.rooms.listRooms([room]))[0]?.sid ?? '';

  it('by polling: a caller comes and goes', async () => {
    polling.follow('polled');
    expect(await polling.sees('polled', () => true)).toMatchObject({ roomSid: null, participants: [] });
    await callers.join('polled', 'ann');
    const look = await polling.sees('polled', ({ participants }) => participants[0]?.audioTracks === 1);
    expect(look.roomSid).toBe(await sidOf('polled'));
    expect(Math.abs((look.roomCreatedWallMs ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(look.participants).toMatchObject([
      { identity: 'ann', kind: 'standard', hidden: false, recorder: false, agentGrant: false },
    ]);
    expect(look.participants[0]?.joinedAtWallMs).toBeGreaterThanOrEqual(look.roomCreatedWallMs ?? 0);
    await callers.leave('polled', 'ann');
    const after = await polling.sees('polled', ({ participants }) => participants.length === 0);
    expect(after.roomSid).toBe(look.roomSid);
  });

  it('by webhooks: joined, published, hung up; each is followed by a look', async () => {
    hearing.follow('heard');
    await callers.join('heard', 'ann');
    const joined = await hearing.hears('heard', 'joined');
    expect(joined).toMatchObject({ roomSid: await sidOf('heard'), participant: { identity: 'ann' } });
    expect(Math.abs(joined.at.wallMs - Date.now())).toBeLessThan(60_000);
    const look = await until('a look that shows her voice', () =>
      hearing.looks('heard').find(({ participants }) => participants[0]?.audioTracks === 1),
    );
    expect(look.participants[0]?.sid).toBe(joined.participant.sid);
    await callers.leave('heard', 'ann');
    const left = await hearing.hears('heard', 'left');
    expect(left).toMatchObject({ reason: 'client_initiated', participant: { sid: joined.participant.sid } });
    await until('a look without her', () =>
      hearing
        .looks('heard')
        .find(({ asOf, participants }) => asOf.bootMs >= left.at.bootMs && participants.length === 0),
    );
    expect(hearing.looks('heard').length).toBeLessThan(hearing.events('heard').length + 2);
  });

  it('by webhooks: nothing of rooms that nobody follows', async () => {
    hearing.follow('followed');
    await callers.join('not followed', 'ann');
    await callers.join('followed', 'ann');
    await hearing.hears('followed', 'joined');
    expect(hearing.told.filter((one) => 'room' in one && one.room === 'not followed')).toEqual([]);
  });

  it('by webhooks: in any order and twice, each is told once, and the look after them says what is true', async () => {
    const names = ['participant_joined', 'track_published', 'participant_left'];
    const isOurs = ({ body }: { body: string }) =>
      body.includes('"shuffled"') && names.some((name) => body.includes(name));
    await callers.join('shuffled', 'ann');
    await callers.leave('shuffled', 'ann');
    await callers.join('shuffled', 'bob');
    // LiveKit may leave out the track of somebody who is gone before it is told; bob's track comes last.
    const webhooks = await until('the webhooks of both', () => {
      const found = hearing.received.filter(isOurs);
      const has = (...parts: string[]) =>
        found.some(({ body }) => parts.every((part) => body.includes(part)));
      return has('participant_left') && has('track_published', '"bob"') ? found.toReversed() : null;
    });
    const late = new Watcher({
      livekit: { url: livekit.url, apiKey: KEY, apiSecret: SECRET },
      pollEveryMs: SELDOM_MS,
    }).start();
    await late.reaches(true);
    late.follow('shuffled');
    for (const { body, authorization } of [...webhooks, ...webhooks])
      await late.rooms.webhook(body, authorization);
    expect(late.events('shuffled').length).toBe(webhooks.length);
    const look = await until('a look', () => late.looks('shuffled').at(-1));
    expect(look.participants.map(({ identity }) => identity)).toEqual(['bob']);
    await late.close();
  });

  it('tells a room by its sid: the older one of the name is another', async () => {
    hearing.follow('again');
    await callers.join('again', 'ann');
    const first = await hearing.hears('again', 'joined');
    await livekit.rooms.deleteRoom('again');
    const finished = await hearing.hears('again', 'finished');
    expect(finished.roomSid).toBe(first.roomSid);
    expect(await hearing.hears('again', 'left')).toMatchObject({ reason: 'room_deleted' });
    await callers.join('again', 'bob');
    const sid = await sidOf('again');
    expect(sid).not.toBe(first.roomSid);
    const look = await until('a look at the newer one', () =>
      hearing.looks('again').find(({ roomSid }) => roomSid === sid),
    );
    expect(look.participants.map(({ identity }) => identity)).toEqual(['bob']);
  });

  it('knows who is a caller, in a room with any name', async () => {
    const name = 'Straße 📞 "+49" $(id) ../x';
    polling.follow(name);
    const everyone = {
      ann: {},
      phone: { kind: 'sip' },
      ringing: { kind: 'sip', attributes: { 'sip.callStatus': 'ringing' } },
      bridge: { kind: 'bridge' },
      connector: { kind: 'connector' },
      agent: { kind: 'agent' },
      'agent by grant': { grant: { agent: true } },
      hidden: { grant: { hidden: true } },
      recorder: { grant: { recorder: true } },
      egress: { kind: 'egress' },
      ingress: { kind: 'ingress' },
      ours: { kind: 'agent' },
    };
    for (const [identity, who] of Object.entries(everyone))
      await callers.join(name, identity, { audio: false, ...who });
    const size = Object.keys(everyone).length;
    const look = await polling.sees(name, ({ participants }) => participants.length === size);
    const sides = Object.fromEntries(look.participants.map((one) => [one.identity, sideOf(one, 'ours')]));
    expect(sides).toEqual({
      ann: 'caller',
      phone: 'caller',
      ringing: 'ringing',
      bridge: 'caller',
      connector: 'caller',
      agent: 'agent',
      'agent by grant': 'agent',
      hidden: 'other',
      recorder: 'other',
      egress: 'other',
      ingress: 'other',
      ours: 'own_agent',
    });
  });

  it('sees a phone that is picked up', async () => {
    polling.follow('ring');
    const grant = { canUpdateOwnMetadata: true };
    await callers.join('ring', 'phone', { kind: 'sip', attributes: { 'sip.callStatus': 'ringing' }, grant });
    const of = (status: string) =>
      polling.sees('ring', ({ participants: [one] }) => one?.sipCallStatus === status);
    await of('ringing');
    await callers.setAttributes('ring', 'phone', { 'sip.callStatus': 'active' });
    await of('active');
  });

  it('tells a connection that was lost from a hang-up', { timeout: 90_000 }, async () => {
    const phone = new Callers(livekit);
    hearing.follow('lost');
    await phone.join('lost', 'ann');
    const joined = await hearing.hears('lost', 'joined');
    phone.kill();
    const left = await hearing.hears('lost', 'left', LOST_MS);
    expect(left).toMatchObject({ roomSid: joined.roomSid, participant: { sid: joined.participant.sid } });
    expect(['connection_timeout', 'signal_close', 'media_failure', 'unknown']).toContain(left.reason);
  });

  it('sees one who comes back under the same identity as another connection', async () => {
    hearing.follow('twice');
    await callers.join('twice', 'ann');
    const first = await hearing.hears('twice', 'joined');
    const second = new Callers(livekit);
    await second.join('twice', 'ann');
    const left = await hearing.hears('twice', 'left');
    expect(left).toMatchObject({ reason: 'duplicate_identity', participant: { sid: first.participant.sid } });
    const look = await until('a look at the newer one', () =>
      hearing.looks('twice').find(({ asOf }) => asOf.bootMs >= left.at.bootMs),
    );
    expect(look.participants).toMatchObject([{ identity: 'ann' }]);
    expect(look.participants[0]?.sid).not.toBe(first.participant.sid);
    second.kill();
  });
});
