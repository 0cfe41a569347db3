/** A call that curfew accepted while LiveKit never assigns it: the adapter and the sessions together. */
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

/** The room of the call. Our agent is in it as soon as curfew has named the agent's identity. */
function roomWithAgent(server: FakeServer) {
  return (method: string): object => {
    const answers = server.peers.flatMap((peer) => peer.framesOf('availability'));
    const identity = answers.find(({ available }) => available === true)?.participantIdentity;
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
  await until('it is registered', () =>
    server?.peers.some((peer) => peer.framesOf('updateWorker').length > 0),
  );
  return { server, daemon };
}

describe('a call that curfew refuses', () => {
  it('leaves neither its room nor its people in the log, for any reason', async () => {
    const { server, daemon } = await open();
    const room = (name: string) => ({ name, sid: `RM_${name}` });
    const metadata = JSON.stringify({
      curfew: { labels: { '+4930222': 3 }, user: '+4930333', limits: { a: 1 } },
    });
    server.latest.send(
      offerOf('AJ_1', { room: room('+4930111') }),
      offerOf('AJ_2', { room: room('+4930111') }),
      offerOf('AJ_3', { room: room('+4930444'), metadata }),
    );
    const refused = () => daemon.stderr.split('\n').filter((line) => line.includes('a job was refused'));
    await until('one call is refused', () => refused().length === 1);
    await until('the metadata of another call is refused', () => daemon.stderr.includes('"AJ_3"'));
    expect(daemon.stderr).not.toContain('+4930');
    const [refusal = ''] = refused();
    expect(JSON.parse(refusal)).toMatchObject({ why: 'room_taken' });
  });
});

describe('a call that curfew accepted', () => {
  it('starts without an assignment and continues after LiveKit fails to assign it', async () => {
    const { server, daemon } = await open();
    server.latest.send(offerOf('AJ_1'));
    await until('it is answered', () => server.latest.framesOf('availability').length > 0);
    await daemon.reaches('AJ_1', ['live']);
    const isLogged = () => daemon.stderr.includes('did not assign an accepted job in time');
    await until('the assignment is given up', isLogged, 20_000);
    // The next snapshot would end the session if curfew read the silence as a termination.
    const givenUpWallMs = Date.now();
    const isSeen = ({ presence }: SessionView) => Date.parse(presence?.asOf ?? '') > givenUpWallMs;
    await until('a later snapshot of the room arrived', async () => isSeen(await daemon.session('AJ_1')));
    const { body } = await daemon.get<SessionView>('/v1/sessions/AJ_1');
    expect(body).toMatchObject({ state: 'live', evidence: null });
    await daemon.release('AJ_1');
    await until('its end is reported', () =>
      server.latest.framesOf('updateJob').some((one) => one.status === 'JS_SUCCESS'),
    );
  });
});
