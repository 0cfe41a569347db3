/** A call with a real LiveKit and a real agent inside the service's sandbox, through a restart. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Callers } from '../support/callers/callers.ts';
import { Machine, PROJECT, PROJECT_BINDS } from '../support/daemon/systemd-machine.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';

describe.runIf(HAS_LIVEKIT)('a call in the sandbox', () => {
  let livekit: LiveKit;
  let machine: Machine;
  let callers: Callers;

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
    machine = new Machine({ network: true, binds: PROJECT_BINDS });
    const agent = ['/opt/curfew/bin/node', `${PROJECT}/test/fixtures/agent.mjs`];
    const secrets = { api_key_file: 'credentials/key', api_secret_file: 'credentials/secret' };
    machine.configure({
      livekit: { url: livekit.url, ...secrets },
      presence: { poll_interval: '1s' },
      agents: { default: { command: agent, protocol: 'curfew', callers_left: '500ms' } },
    });
    machine.write('/etc/curfew/credentials/key', KEY);
    machine.write('/etc/curfew/credentials/secret', SECRET);
    await machine.boot();
    await machine.must('systemctl', 'start', 'curfew');
  });
  afterAll(async () => {
    callers?.kill();
    await machine?.close();
    await livekit?.close();
  });

  const agentsIn = async (room: string) =>
    (await livekit.rooms.listParticipants(room))
      .filter((one) => one.identity !== 'ann')
      .map((one) => one.sid);

  it('a call in the sandbox goes on through a restart, and a release ends it in order', async () => {
    const { id, pid } = await machine.dispatch('r');
    await callers.join('r', 'ann');
    await until('the caller is seen', async () => (await machine.session(id)).presence?.callers === 1);
    const agents = await agentsIn('r');
    expect(agents).toHaveLength(1);
    await machine.must('systemctl', 'restart', 'curfew');
    const restartedMs = Date.now();
    expect(await machine.session(id)).toMatchObject({ state: 'live', pid, restarts: 0 });
    expect(await agentsIn('r')).toEqual(agents);
    await until('the caller is seen again', async () => {
      const { presence } = await machine.session(id);
      return presence?.callers === 1 && Date.parse(presence.asOf ?? '') > restartedMs;
    });
    await machine.must('curfew', 'release', id);
    const ended = await until('the session has ended', async () => {
      const session = await machine.session(id);
      return session.state === 'released' ? session : null;
    });
    expect(ended).toMatchObject({ reason: 'requested', exit: { code: 0 } });
    const [firstStep] = ended.evidence?.ladder ?? [];
    expect(firstStep).toMatchObject({ step: 'aclose', outcome: 'done' });
    expect(await agentsIn('r').catch(() => [])).toEqual([]);
  });
});
