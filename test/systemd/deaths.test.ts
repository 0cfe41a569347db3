/** The supervisor's deaths in a real systemd: it comes back, and no call notices. */
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

/** Its pid first: there is none between two lives, and the state of before is still `active` right after a kill. */
const restarted = (before: string) =>
  until(
    'systemd has started it again',
    async () => {
      const pid = await machine.show('MainPID');
      return pid !== '0' && pid !== before && (await machine.show('ActiveState')) === 'active';
    },
    20_000,
  );
const fedAtUs = async () => Number(await machine.show('WatchdogTimestampMonotonic'));

describe('a supervisor that', () => {
  it('is killed five times is started again each time, with the same worker', async () => {
    const { id, pid } = await machine.dispatch('killed');
    for (let round = 0; round < 5; round++) {
      const before = await machine.show('MainPID');
      await machine.must('systemctl', 'kill', '--kill-who=main', '-s', 'KILL', 'curfew');
      await restarted(before);
    }
    expect(await machine.session(id)).toMatchObject({ state: 'live', pid, restarts: 0 });
    expect(Number(await machine.show('NRestarts'))).toBeGreaterThanOrEqual(5);
  });

  it('hangs is killed by the watchdog and started again, with the same worker', async () => {
    const { id, pid } = await machine.dispatch('hung');
    const before = await machine.show('MainPID');
    await machine.must('kill', '-STOP', before);
    await restarted(before);
    await until('the journal says so', async () => (await machine.journal()).includes('Watchdog timeout'));
    expect(await machine.session(id)).toMatchObject({ state: 'live', pid, restarts: 0 });
  });

  it('is well is not killed by the watchdog', async () => {
    const before = await machine.show('MainPID');
    const fed = await until('it is watched', fedAtUs);
    await until('it was fed over twice its time', async () => (await fedAtUs()) - fed > 4_000_000, 20_000);
    expect(await machine.show('MainPID')).toBe(before);
  });

  it('gets SIGTERM from nobody who wants a stop leaves the calls and comes back', async () => {
    const { id, pid } = await machine.dispatch('termed');
    const before = await machine.show('MainPID');
    await machine.must('kill', '-TERM', before);
    await restarted(before);
    expect(await machine.session(id)).toMatchObject({ state: 'live', pid, restarts: 0 });
  });
});
