/**
 * The supervisor dies at every named point, once with a plain restart after it, and once with a second death while it takes over.
 * What is there afterwards is read from /proc, not asked of curfew.
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

/** Dispatched again and again with the same id, as a client does that got no answer. */
async function dispatch(daemon: Daemon): Promise<string> {
  const { status, body } = await daemon.dispatch({ room: 'r', id: 'call-1' });
  expect([200, 201]).toContain(status);
  return body.id;
}

/** Whatever is under way when the supervisor dies gets no answer. */
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
    // The release was recorded, or it was not and is asked for again.
    if (!['released', 'closing'].includes((await daemon.session('call-1')).state))
      await daemon.release('call-1');
  } else {
    const session = await daemon.reaches(await dispatch(daemon), ['live', 'failed', 'released']);
    expect(commands(daemon)).toHaveLength(session.state === 'live' ? 1 : 0);
    if (session.state === 'live') {
      expect(session.pid).toBe(commands(daemon)[0]?.pid);
      expect(session.restarts).toBe(0);
      // Who was there before is there still.
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

describe('a supervisor that dies', () => {
  it.each(FAILPOINTS)('at %s, and is started again', async (point) => {
    const daemon = new Daemon({ config });
    daemons.push(daemon);
    await diesAt(daemon, point);
    await check(daemon, point);
  });

  // Every point of a takeover has its turn.
  const pairs = FAILPOINTS.map((point, index) => [point, RECOVERY[index % RECOVERY.length] ?? ''] as const);
  it.each(pairs)('at %s, and again at %s while it takes over', async (point, again) => {
    const daemon = new Daemon({ config });
    daemons.push(daemon);
    await diesAt(daemon, point);
    await daemon.startToDie({ CURFEW_TEST: '1', CURFEW_FAILPOINT: again });
    await check(daemon, point);
  });
});
