/** The supervisor's deaths in a real systemd: systemd starts it again, and each call goes on. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../support/daemon/systemd-machine.ts';
import { until } from '../support/lib/wait.ts';

let machine: Machine;
beforeAll(async () => {
  machine = new Machine();
  machine.configure();
  machine.write(
    '/etc/systemd/system/curfew.service.d/test.conf',
    '[Service]\nWatchdogSec=2s\nRestartSec=100ms\n',
  );
  await machine.boot();
  await machine.must('systemctl', 'start', 'curfew');
});
afterAll(() => machine.close());

/** Race: right after a kill ActiveState is still `active`. So wait for another MainPID first, which is 0 between two supervisors. */
const restarted = (before: string) =>
  until(
    'systemd has started it again',
    async () => {
      const pid = await machine.show('MainPID');
      return pid !== '0' && pid !== before && (await machine.show('ActiveState')) === 'active';
    },
    20_000,
  );
const watchdogFedAtUs = async () => Number(await machine.show('WatchdogTimestampMonotonic'));

describe('a supervisor in systemd', () => {
  it('a supervisor that was killed five times has the same worker after each start', async () => {
    const { id, pid } = await machine.dispatch('killed');
    for (let round = 0; round < 5; round++) {
      const before = await machine.show('MainPID');
      await machine.must('systemctl', 'kill', '--kill-who=main', '-s', 'KILL', 'curfew');
      await restarted(before);
    }
    expect(await machine.session(id)).toMatchObject({ state: 'live', pid, restarts: 0 });
    expect(Number(await machine.show('NRestarts'))).toBeGreaterThanOrEqual(5);
  });

  it('a supervisor that hangs is restarted by the watchdog, and has the same worker', async () => {
    const { id, pid } = await machine.dispatch('hung');
    const before = await machine.show('MainPID');
    await machine.must('kill', '-STOP', before);
    await restarted(before);
    await until('the journal says so', async () => (await machine.journal()).includes('Watchdog timeout'));
    expect(await machine.session(id)).toMatchObject({ state: 'live', pid, restarts: 0 });
  });

  it('a healthy supervisor is not killed by the watchdog', async () => {
    const before = await machine.show('MainPID');
    const fed = await until('the watchdog is on', watchdogFedAtUs);
    await until(
      'the watchdog was fed for twice its time',
      async () => (await watchdogFedAtUs()) - fed > 4_000_000,
      20_000,
    );
    expect(await machine.show('MainPID')).toBe(before);
  });

  it('a supervisor that gets a SIGTERM without a stop leaves its calls and is started again', async () => {
    const { id, pid } = await machine.dispatch('termed');
    const before = await machine.show('MainPID');
    await machine.must('kill', '-TERM', before);
    await restarted(before);
    expect(await machine.session(id)).toMatchObject({ state: 'live', pid, restarts: 0 });
  });
});
