/** The timer in a real systemd: it cleans up also without a supervisor, and spares each session that is not due. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../support/daemon/systemd-machine.ts';
import { until } from '../support/lib/wait.ts';
import { beganEarlier } from '../support/sessions/recorded-sessions.ts';

/** Far above the default maximum duration of a session. */
const A_DAY_MS = 24 * 3_600_000;

let machine: Machine;
beforeAll(async () => {
  machine = new Machine();
  machine.configure({ sweep: { grace: '1s' } });
  machine.write('/etc/systemd/system/curfew.service.d/test.conf', '[Service]\nRestart=no\n');
  machine.write(
    '/etc/systemd/system/curfew-cleanup.timer.d/test.conf',
    '[Timer]\nOnBootSec=\nOnUnitInactiveSec=\nOnActiveSec=100ms\nOnUnitInactiveSec=1s\nAccuracySec=10ms\n',
  );
  await machine.boot();
  await machine.must('systemctl', 'start', 'curfew');
});
afterAll(() => machine.close());

const ranUntil = (what: string, holds: () => Promise<boolean>) =>
  until(`${what}: ${holds}`, holds, 40_000).then(() =>
    until('the cleanup is over', async () =>
      ['inactive', 'failed'].includes(await machine.show('ActiveState', 'curfew-cleanup.service')),
    ),
  );

describe('curfew-cleanup.timer', () => {
  it('curfew-cleanup.service asks a living supervisor, and leaves its session alone', async () => {
    const { id, pid } = await machine.dispatch('before');
    await machine.must('systemctl', 'start', 'curfew-cleanup.service');
    expect(await machine.show('Result', 'curfew-cleanup.service')).toBe('success');
    expect(await machine.session(id)).toMatchObject({ state: 'live', pid });
    await machine.must('curfew', 'release', id);
    await until('the session has ended', async () => (await machine.session(id)).state === 'released');
  });

  it('curfew-cleanup.timer ends an overdue worker without a supervisor, and leaves the others', async () => {
    const spared = await machine.dispatch('spared');
    const overdue = await machine.dispatch('overdue');
    await machine.must('systemctl', 'kill', '--kill-who=main', '-s', 'KILL', 'curfew');
    await until('the supervisor is dead', async () => (await machine.show('ActiveState')) === 'failed');
    expect(await machine.runs(overdue.pid)).toBe(true);
    beganEarlier(machine.stateDir, overdue.id, A_DAY_MS);
    await machine.must('systemctl', 'start', 'curfew-cleanup.timer');
    await ranUntil('the overdue worker is gone', async () => !(await machine.runs(overdue.pid)));
    expect(await machine.show('Result', 'curfew-cleanup.service')).toBe('success');
    await until('the journal names it', async () =>
      (await machine.journal('curfew-cleanup.service')).includes(overdue.id),
    );
    expect(await machine.runs(spared.pid)).toBe(true);
    await machine.must('systemctl', 'start', 'curfew');
    expect(await machine.session(spared.id)).toMatchObject({ state: 'live', pid: spared.pid });
    expect(await machine.session(overdue.id)).toMatchObject({ state: 'released', reason: 'max_duration' });
  });
});
