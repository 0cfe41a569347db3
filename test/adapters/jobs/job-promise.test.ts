/** What a call becomes that LiveKit was told yes for and is silent about: the adapter and the sessions together. */
import { afterEach, describe, expect, it } from 'vitest';
import type { SessionView } from '../../../src/api/session-schemas.ts';
import { Daemon } from '../../support/daemon/daemon.ts';
import { until } from '../../support/lib/wait.ts';
import { KEY, SECRET } from '../../support/livekit/livekit-server.ts';
import { FakeServer, offerOf } from './fake-livekit.ts';

let daemon: Daemon | null = null;
let server: FakeServer | null = null;

afterEach(async () => {
  await daemon?.close();
  await server?.close();
});

/** The room of the call with our agent in it, as soon as it is known under which identity. */
function roomWithAgent(server: FakeServer) {
  return (method: string): object => {
    const identity = server.peers[0]?.said('availability')[0]?.participantIdentity;
    if (method === 'ListRooms') return { rooms: [{ name: 'r', sid: 'RM_1' }] };
    if (method !== 'ListParticipants' || identity === undefined) return {};
    return { participants: [{ identity, sid: 'PA_1', state: 'ACTIVE', kind: 'AGENT' }] };
  };
}

async function open(): Promise<{ server: FakeServer; daemon: Daemon }> {
  server = await FakeServer.start();
  server.api = roomWithAgent(server);
  const config = {
    livekit: { url: server.url, api_key: KEY, api_secret: SECRET },
    agents: { default: { command: ['sleep', '60'], agent_name: 'voice' } },
  };
  daemon = await new Daemon({ config }).start();
  await until('it is registered', () => server?.peers[0]?.said('updateWorker').length);
  return { server, daemon };
}

describe('a call that is refused', () => {
  it('leaves no trace of its room or its people in the log, whatever is wrong with it', async () => {
    const { server, daemon } = await open();
    const room = (name: string) => ({ name, sid: `RM_${name}` });
    const metadata = JSON.stringify({
      curfew: { labels: { '+4930222': 3 }, user: '+4930333', limits: { a: 1 } },
    });
    server.last.send(
      offerOf('AJ_1', { room: room('+4930111') }),
      offerOf('AJ_2', { room: room('+4930111') }),
      offerOf('AJ_3', { room: room('+4930444'), metadata }),
    );
    const refused = () => daemon.stderr.split('\n').filter((line) => line.includes('a job was refused'));
    await until('one is refused', () => refused().length === 1);
    await until('the wishes of another are not valid', () => daemon.stderr.includes('"AJ_3"'));
    expect(daemon.stderr).not.toContain('+4930');
    expect(JSON.parse(refused()[0] ?? '')).toMatchObject({ why: 'room_taken' });
  });
});

describe('a call that was promised', () => {
  it('and never assigned begins by itself, and goes on when the assignment is given up', async () => {
    const { server, daemon } = await open();
    server.last.send(offerOf('AJ_1'));
    await until('it is answered', () => server.last.said('availability').length > 0);
    await daemon.reaches('AJ_1', ['live']);
    const saysSo = () => daemon.stderr.includes('an accepted job was never assigned');
    await until('the assignment is given up', saysSo, 20_000);
    // The look that would end it if this were taken for LiveKit's word.
    const givenUpWallMs = Date.now();
    const isSeen = ({ presence }: SessionView) => Date.parse(presence?.asOf ?? '') > givenUpWallMs;
    await until('the room was looked at since', async () => isSeen(await daemon.session('AJ_1')));
    const { body } = await daemon.get<SessionView>('/v1/sessions/AJ_1');
    expect(body).toMatchObject({ state: 'live', evidence: null });
    await daemon.release('AJ_1');
    await until('its end is reported all the same', () =>
      server.last.said('updateJob').some((one) => one.status === 'JS_SUCCESS'),
    );
  });
});
