/**
 * The supervisor dies at every named point. One test restarts it plainly, another lets it die again while it takes over.
 * The test reads the processes that are left from /proc. It does not ask curfew.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { FAILPOINTS } from '../../src/lib/failpoints.ts';
import { Daemon } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import type { Marked } from '../support/processes/marked-processes.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { killAll } from '../support/processes/test-processes.ts';

const config = {
  limits: { start_rate: '1000/s' },
  agents: {
    default: { command: ['sleep', '1000'], ladder: { term: '1s', kill: '1s' } },
  },
};
const RECOVERY = FAILPOINTS.filter((one) => one.startsWith('recovery.'));
const ENDING = ['closing.', 'signal.', 'exit.', 'tree.', 'ended.'];

const daemons: Daemon[] = [];
afterEach(async () => {
  for (const daemon of daemons.splice(0)) {
    const left = marked(daemon.instanceId());
    await daemon.close();
    killAll(left.map((one) => one.pid));
  }
});

const commands = (daemon: Daemon): Marked[] =>
  marked(daemon.instanceId()).filter((one) => /^\S*sleep 1000$/.test(one.command));

/** Always with the same id, as a client that got no answer repeats its dispatch. */
async function dispatch(daemon: Daemon): Promise<string> {
  const { status, body } = await daemon.dispatch({ room: 'r', id: 'call-1' });
  expect([200, 201]).toContain(status);
  return body.id;
}

/** A request gets no answer when the supervisor dies meanwhile. */
const ignoringDeath = (work: Promise<unknown>) => work.catch(() => undefined);

async function diesAt(daemon: Daemon, point: string): Promise<void> {
  const isEnding = ENDING.some((one) => point.startsWith(one));
  await daemon.start();
  if (isEnding || point.startsWith('recovery.')) await daemon.reaches(await dispatch(daemon), ['live']);
  daemon.signal('SIGKILL');
  await daemon.exited();
  const armed = { CURFEW_TEST: '1', CURFEW_FAILPOINT: point };
  if (point.startsWith('recovery.')) return daemon.startToDie(armed);
  await daemon.start(armed);
  await ignoringDeath(isEnding ? daemon.release('call-1') : dispatch(daemon));
  await daemon.exited(20_000);
}

async function check(daemon: Daemon, point: string): Promise<void> {
  const wasEnding = ENDING.some((one) => point.startsWith(one));
  const before = commands(daemon).map((one) => one.pid);
  await daemon.start();
  if (wasEnding) {
    // The record may not have the release. Then the client asks again.
    if (!['released', 'closing'].includes((await daemon.session('call-1')).state))
      await daemon.release('call-1');
  } else {
    const session = await daemon.reaches(await dispatch(daemon), ['live', 'failed', 'released']);
    expect(commands(daemon)).toHaveLength(session.state === 'live' ? 1 : 0);
    if (session.state === 'live') {
      expect(commands(daemon).map((one) => one.pid)).toEqual([session.pid]);
      expect(session.restarts).toBe(0);
      // A worker that lived before the restart is the same one now.
      if (before.length > 0) expect(before).toEqual([session.pid]);
    }
    await daemon.release(session.id);
  }
  const ended = await daemon.ended('call-1');
  if (wasEnding) expect(ended).toMatchObject({ state: 'released', reason: 'requested' });
  await until('nothing is left', () => marked(daemon.instanceId()).length === 0);
  const next = await daemon.dispatch({ room: 'r' });
  expect(next.status).toBe(201);
  await daemon.reaches(next.body.id, ['live']);
}

describe('deaths of the supervisor', () => {
  it.each(FAILPOINTS)('a supervisor that died at %s leaves no doubled and no lost worker', async (point) => {
    const daemon = new Daemon({ config });
    daemons.push(daemon);
    await diesAt(daemon, point);
    await check(daemon, point);
  });

  // The pairs use each point of the takeover in turn.
  const pairs = FAILPOINTS.map((point, index) => [point, RECOVERY[index % RECOVERY.length] ?? ''] as const);
  it.each(
    pairs,
  )('a supervisor that died at %s and again at %s leaves no doubled and no lost worker', async (point, again) => {
    const daemon = new Daemon({ config });
    daemons.push(daemon);
    await diesAt(daemon, point);
    await daemon.startToDie({ CURFEW_TEST: '1', CURFEW_FAILPOINT: again });
    await check(daemon, point);
  });
});
