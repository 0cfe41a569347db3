/** Presence on a real LiveKit server, with real participants. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sideOf } from '../../../src/core/rooms/presence.ts';
import { Callers } from '../../support/callers/callers.ts';
import { until } from '../../support/lib/wait.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../../support/livekit/livekit-server.ts';
import { RoomsWatcher } from '../../support/livekit/rooms-watcher.ts';

/** Such seldom polls that webhooks bring all news. */
const SELDOM_MS = 600_000;
/** LiveKit notices a lost connection after 15 to 20 s. */
const LOST_MS = 45_000;

describe.runIf(HAS_LIVEKIT)('presence on a real LiveKit server', () => {
  let livekit: LiveKit;
  let callers: Callers;
  let polling: RoomsWatcher;
  let hearing: RoomsWatcher;

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
    const access = { url: livekit.url, apiKey: KEY, apiSecret: SECRET };
    polling = new RoomsWatcher({ livekit: access, pollEveryMs: 200 }).start();
    hearing = new RoomsWatcher({
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

  const sidOf = async (name: string) => {
    const [room] = await livekit.rooms.listRooms([name]);
    return room?.sid ?? '';
  };

  it('shows by polls that a caller joined and left', async () => {
    polling.follow('polled');
    expect(await polling.nextSnapshot('polled', () => true)).toMatchObject({
      roomSid: null,
      participants: [],
    });
    await callers.join('polled', 'ann');
    const snapshot = await polling.nextSnapshot(
      'polled',
      ({ participants: [ann] }) => ann?.audioTracks === 1,
    );
    expect(snapshot.roomSid).toBe(await sidOf('polled'));
    expect(Math.abs((snapshot.roomCreatedWallMs ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(snapshot.participants).toMatchObject([
      { identity: 'ann', kind: 'standard', hidden: false, recorder: false, agentGrant: false },
    ]);
    const [ann] = snapshot.participants;
    expect(ann?.joinedAtWallMs).toBeGreaterThanOrEqual(snapshot.roomCreatedWallMs ?? 0);
    await callers.leave('polled', 'ann');
    const after = await polling.nextSnapshot('polled', ({ participants }) => participants.length === 0);
    expect(after.roomSid).toBe(snapshot.roomSid);
  });

  it('shows by webhooks that a caller joined, published and hung up, each followed by a poll', async () => {
    hearing.follow('heard');
    await callers.join('heard', 'ann');
    const joined = await hearing.webhook('heard', 'joined');
    expect(joined).toMatchObject({ roomSid: await sidOf('heard'), participant: { identity: 'ann' } });
    expect(Math.abs(joined.at.wallMs - Date.now())).toBeLessThan(60_000);
    const snapshot = await until('a snapshot with her audio track', () =>
      hearing.snapshotsOf('heard').find(({ participants: [ann] }) => ann?.audioTracks === 1),
    );
    const [ann] = snapshot.participants;
    expect(ann?.sid).toBe(joined.participant.sid);
    await callers.leave('heard', 'ann');
    const left = await hearing.webhook('heard', 'left');
    expect(left).toMatchObject({ reason: 'client_initiated', participant: { sid: joined.participant.sid } });
    await until('a snapshot without her', () =>
      hearing
        .snapshotsOf('heard')
        .find(({ asOf, participants }) => asOf.bootMs >= left.at.bootMs && participants.length === 0),
    );
    expect(hearing.snapshotsOf('heard').length).toBeLessThan(hearing.webhooksOf('heard').length + 2);
  });

  it('reports no webhook of a room that is not followed', async () => {
    hearing.follow('followed');
    await callers.join('not followed', 'ann');
    await callers.join('followed', 'ann');
    await hearing.webhook('followed', 'joined');
    expect(hearing.reports.filter((one) => 'room' in one && one.room === 'not followed')).toEqual([]);
  });

  it('reports reordered and repeated webhooks once each, and the next snapshot shows the truth', async () => {
    const names = ['participant_joined', 'track_published', 'participant_left'];
    const isOurs = ({ body }: { body: string }) =>
      body.includes('"shuffled"') && names.some((name) => body.includes(name));
    await callers.join('shuffled', 'ann');
    await callers.leave('shuffled', 'ann');
    await callers.join('shuffled', 'bob');
    // LiveKit can omit the track webhook of a caller after an early hang-up. The webhook of bob's track comes last.
    const webhooks = await until('the webhooks of both', () => {
      const found = hearing.received.filter(isOurs);
      const has = (...parts: string[]) =>
        found.some(({ body }) => parts.every((part) => body.includes(part)));
      return has('participant_left') && has('track_published', '"bob"') ? found.toReversed() : null;
    });
    const late = new RoomsWatcher({
      livekit: { url: livekit.url, apiKey: KEY, apiSecret: SECRET },
      pollEveryMs: SELDOM_MS,
    }).start();
    await late.reaches(true);
    late.follow('shuffled');
    for (const { body, authorization } of [...webhooks, ...webhooks])
      await late.rooms.webhook(body, authorization);
    expect(late.webhooksOf('shuffled').length).toBe(webhooks.length);
    const snapshot = await until('a snapshot', () => late.snapshotsOf('shuffled').at(-1));
    expect(snapshot.participants.map(({ identity }) => identity)).toEqual(['bob']);
    await late.close();
  });

  it('identifies a room by its sid, so that a new room of the same name is another room', async () => {
    hearing.follow('again');
    await callers.join('again', 'ann');
    const first = await hearing.webhook('again', 'joined');
    await livekit.rooms.deleteRoom('again');
    const finished = await hearing.webhook('again', 'finished');
    expect(finished.roomSid).toBe(first.roomSid);
    expect(await hearing.webhook('again', 'left')).toMatchObject({ reason: 'room_deleted' });
    await callers.join('again', 'bob');
    const sid = await sidOf('again');
    expect(sid).not.toBe(first.roomSid);
    const snapshot = await until('a snapshot of the new room', () =>
      hearing.snapshotsOf('again').find(({ roomSid }) => roomSid === sid),
    );
    expect(snapshot.participants.map(({ identity }) => identity)).toEqual(['bob']);
  });

  it('tells callers from agents and others, in a room with an unusual name', async () => {
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
    for (const [identity, options] of Object.entries(everyone))
      await callers.join(name, identity, { audio: false, ...options });
    const size = Object.keys(everyone).length;
    const snapshot = await polling.nextSnapshot(name, ({ participants }) => participants.length === size);
    const sides = Object.fromEntries(snapshot.participants.map((one) => [one.identity, sideOf(one, 'ours')]));
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

  it('shows that a ringing phone was answered', async () => {
    polling.follow('ring');
    const grant = { canUpdateOwnMetadata: true };
    await callers.join('ring', 'phone', { kind: 'sip', attributes: { 'sip.callStatus': 'ringing' }, grant });
    const of = (status: string) =>
      polling.nextSnapshot('ring', ({ participants: [one] }) => one?.sipCallStatus === status);
    await of('ringing');
    await callers.setAttributes('ring', 'phone', { 'sip.callStatus': 'active' });
    await of('active');
  });

  it('tells a lost connection from a hang-up', { timeout: 90_000 }, async () => {
    const phone = new Callers(livekit);
    hearing.follow('lost');
    await phone.join('lost', 'ann');
    const joined = await hearing.webhook('lost', 'joined');
    phone.kill();
    const left = await hearing.webhook('lost', 'left', LOST_MS);
    expect(left).toMatchObject({ roomSid: joined.roomSid, participant: { sid: joined.participant.sid } });
    expect(['connection_timeout', 'signal_close', 'media_failure', 'unknown']).toContain(left.reason);
  });

  it('shows a caller who joins again under the same identity as another connection', async () => {
    hearing.follow('twice');
    await callers.join('twice', 'ann');
    const first = await hearing.webhook('twice', 'joined');
    const second = new Callers(livekit);
    await second.join('twice', 'ann');
    const left = await hearing.webhook('twice', 'left');
    expect(left).toMatchObject({ reason: 'duplicate_identity', participant: { sid: first.participant.sid } });
    const snapshot = await until('a snapshot of the newer connection', () =>
      hearing.snapshotsOf('twice').find(({ asOf }) => asOf.bootMs >= left.at.bootMs),
    );
    expect(snapshot.participants).toMatchObject([{ identity: 'ann' }]);
    const [newer] = snapshot.participants;
    expect(newer?.sid).not.toBe(first.participant.sid);
    second.kill();
  });
});
