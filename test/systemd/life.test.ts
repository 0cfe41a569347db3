/** The service in a real systemd: start, restart, reload, drain, stop, and the host's shutdown. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../support/daemon/systemd-machine.ts';
import { until } from '../support/lib/wait.ts';

let machine: Machine;
beforeAll(async () => {
  machine = new Machine();
  machine.configure();
  await machine.boot();
});
afterAll(() => machine.close());

describe('curfew.service', () => {
  it('the service is ready when it answers, and its status text counts the sessions', async () => {
    await machine.must('systemctl', 'start', 'curfew');
    expect(await machine.must('curfew', 'capacity')).not.toBe('');
    expect(await machine.show('StatusText')).toBe('0 live, 0 starting, 0 closing, 0 queued; at most 50');
    expect(await machine.show('ActiveState')).toBe('active');
  });

  it('a restart keeps each worker, its session and its /tmp, and is over only after the adoption', async () => {
    const { id, pid } = await machine.dispatch('restarted');
    const inWorker = ['nsenter', '-t', String(pid), '-m'];
    await machine.must(...inWorker, 'touch', '/tmp/before');
    const supervisor = await machine.show('MainPID');
    await machine.must('systemctl', 'restart', 'curfew');
    expect(await machine.show('StatusText')).toContain('1 live');
    expect(await machine.session(id)).toMatchObject({ state: 'live', pid, restarts: 0 });
    expect(await machine.show('MainPID')).not.toBe(supervisor);
    expect(await machine.show('Result')).toBe('success');
    await machine.must(...inWorker, 'ls', '/tmp/before');
    await machine.must(...inWorker, 'touch', '/tmp/after');
  });

  it('a reload is over when the new config holds for new sessions', async () => {
    machine.configure({ limits: { sessions: 7, start_rate: '1000/s' } });
    await machine.must('systemctl', 'reload', 'curfew');
    expect(await machine.must('curfew', '--json', 'capacity')).toContain('"limit": 7');
    machine.configure({ limits: { sessions: 7, start_rate: '1000/s' }, log: { level: 'debug' } });
    expect(await machine.must('curfew', 'reload')).toContain('after the next restart');
  });

  it('a reload of a config with an error fails, names it, and changes nothing', async () => {
    machine.configure({ limits: { sesions: 8 } });
    expect((await machine.run('systemctl', 'reload', 'curfew')).code).not.toBe(0);
    const wrong = 'limits.sesions: unknown key; did you mean "sessions"?';
    await until('the journal names it', async () =>
      (await machine.journal()).replaceAll('\\', '').includes(wrong),
    );
    expect(await machine.must('curfew', '--json', 'capacity')).toContain('"limit": 7');
    expect(await machine.show('ActiveState')).toBe('active');
    machine.configure();
    await machine.must('systemctl', 'kill', '--kill-who=main', '-s', 'HUP', 'curfew');
    await until('SIGHUP applies the config', async () =>
      (await machine.must('curfew', '--json', 'capacity')).includes('"limit": 50'),
    );
    await until(
      'the service is no longer reloading',
      async () => (await machine.show('ActiveState')) === 'active',
    );
  });

  it('a stop releases every call, and the next start begins with none', async () => {
    const { id, pid } = await machine.dispatch('stopped');
    await machine.must('systemctl', 'stop', 'curfew');
    expect(await machine.runs(pid)).toBe(false);
    expect(await machine.show('Result')).toBe('success');
    expect(await machine.show('ControlGroup')).toBe('');
    await machine.must('systemctl', 'start', 'curfew');
    expect(await machine.session(id)).toMatchObject({ state: 'released', reason: 'shutdown' });
  });

  it('a drain waits for the calls, then the service stops, and systemd does not start it again', async () => {
    const { id } = await machine.dispatch('drained');
    await machine.must('systemctl', 'kill', '--kill-who=main', '-s', 'USR1', 'curfew');
    await until('the supervisor takes nothing new', async () =>
      (await machine.must('curfew', '--json', 'capacity')).includes('"accepting": false'),
    );
    expect(await machine.run('curfew', 'dispatch', '--room', 'late')).toMatchObject({ code: 4 });
    expect(await machine.session(id)).toMatchObject({ state: 'live' });
    await machine.must('curfew', 'release', id);
    await until('the service has stopped', async () => (await machine.show('ActiveState')) === 'inactive');
    expect(await machine.show('Result')).toBe('success');
    await machine.must('systemctl', 'start', 'curfew');
    expect(await machine.session(id)).toMatchObject({ state: 'released', reason: 'requested' });
    await machine.dispatch('early');
  });

  it('a stop ends every worker where /proc hides processes of other users (hidepid)', async () => {
    const drop = '/etc/systemd/system/curfew.service.d/test.conf';
    machine.write(drop, '[Service]\nProtectProc=noaccess\n');
    await machine.must('systemctl', 'daemon-reload');
    await machine.must('systemctl', 'restart', 'curfew');
    const { id, pid } = await machine.dispatch('hidden');
    await machine.must('systemctl', 'stop', 'curfew');
    expect(await machine.runs(pid)).toBe(false);
    await machine.must('rm', drop);
    await machine.must('systemctl', 'daemon-reload');
    await machine.must('systemctl', 'start', 'curfew');
    expect(await machine.session(id)).toMatchObject({ state: 'released', reason: 'shutdown' });
  });

  it('a stop takes longer than TimeoutStopSec when a teardown needs more time', async () => {
    const patient = { term: '6s', kill: '2s' };
    const stubborn = ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'];
    machine.configure({ agents: { default: { command: stubborn, ladder: patient } } });
    machine.write('/etc/systemd/system/curfew.service.d/test.conf', '[Service]\nTimeoutStopSec=4s\n');
    await machine.must('systemctl', 'daemon-reload');
    await machine.must('systemctl', 'reload', 'curfew');
    const { id, pid } = await machine.dispatch('stubborn');
    await machine.must('systemctl', 'stop', 'curfew');
    expect(await machine.show('Result')).toBe('success');
    expect(await machine.runs(pid)).toBe(false);
    machine.configure();
    await machine.must('rm', '/etc/systemd/system/curfew.service.d/test.conf');
    await machine.must('systemctl', 'daemon-reload');
    await machine.must('systemctl', 'start', 'curfew');
    expect(await machine.session(id)).toMatchObject({ state: 'released', reason: 'shutdown' });
  });

  it('each line of a worker is once in the journal, also after a restart of journald and of the service', async () => {
    const talks = ['sh', '-c', 'n=0; while :; do n=$((n+1)); echo "line $n é"; sleep 0.2; done'];
    machine.configure({ logs: { forward: 'journald' }, agents: { default: { command: talks } } });
    await machine.must('systemctl', 'restart', 'curfew');
    const { id } = await machine.dispatch('talks');
    const lines = async () => {
      const text = await machine.must('journalctl', '-t', 'curfew-worker', '-o', 'cat', '--no-pager');
      return text.split('\n').flatMap((line) => {
        if (!line.startsWith('{')) return [];
        const told = JSON.parse(line) as { session: string; line: string };
        return told.session === id ? [told.line] : [];
      });
    };
    const grows = async () => {
      const { length } = await lines();
      await until('the journal has more lines', async () => (await lines()).length > length + 2);
    };
    await grows();
    await machine.must('systemctl', 'restart', 'systemd-journald');
    await grows();
    await machine.must('systemctl', 'restart', 'curfew');
    await grows();
    await machine.must('curfew', 'release', id);
    await until('the session is over', async () => (await machine.session(id)).state === 'released');
    const seen = await lines();
    expect(seen).toEqual(seen.map((_, at) => `line ${at + 1} é`));
    machine.configure();
    await machine.must('systemctl', 'restart', 'curfew');
  });

  it('a shutdown of the host releases every call and records it', async () => {
    const { id } = await machine.dispatch('shut-down');
    await machine.powerOff();
    await machine.boot();
    await machine.must('systemctl', 'start', 'curfew');
    const session = await machine.session(id);
    expect(session).toMatchObject({ state: 'released', reason: 'shutdown' });
    expect(session.evidence?.ladder.map((one) => one.step)).toContain('term');
  });
});
