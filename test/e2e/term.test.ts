/** SIGTERM reaches each process once, and the main process first. Real supervisor, real wrappers. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { marked } from '../support/processes/marked-processes.ts';

/** A second signal passes unseen by luck in most tries. */
const TRIES = 20;
const fixture = (name: string) => join(ROOT, 'test/fixtures/workers', name);
const COUNTS = ['python3', fixture('counts-term.py')];
const bash = (script: string) => ['bash', '-c', script];
const counts = COUNTS.join(' ');

describe('SIGTERM', () => {
  let daemon: Daemon;
  let rooms = 0;

  beforeAll(async () => {
    const agent = (command: readonly string[], term = '30s') => ({ command, ladder: { term } });
    daemon = await new Daemon({
      config: {
        limits: { sessions: 300, start_rate: '1000/s', per_user: 'off' },
        agents: {
          default: agent(COUNTS),
          'passes-on-late': agent(['python3', fixture('passes-term.py'), '0.03', ...COUNTS]),
          'passes-on-at-once': agent(['python3', fixture('passes-term.py'), '0', ...COUNTS]),
          'stops-its-recorder': agent(['python3', fixture('stops-recorder.py')]),
          'traps-and-waits': agent(bash(`trap : TERM; ${counts} & wait; wait; wait`), '4s'),
          'ignores-it': agent(bash(`trap '' TERM; ${counts} stubborn & wait`), '2s'),
          'leaves-an-orphan': agent(bash(`${counts} & echo orphan; exec sleep 1000`)),
          'signal-all': { command: bash(`${counts} & wait`), ladder: { signal: 'all' } },
        },
      },
    }).start();
  });
  afterAll(async () => {
    await daemon?.close();
  });

  const logOf = (id: string) => readFileSync(join(daemon.stateDir, `workers/${id}.1/log`), 'utf8');
  const termsOf = (id: string) =>
    logOf(id)
      .split('\n')
      .filter((line) => line === 'TERM').length;

  /** Starts a call of the agent, releases it when it is ready, and returns its end. */
  async function released(agent: string): Promise<SessionView> {
    const { status, body } = await daemon.dispatch({ room: `t${++rooms}`, agent });
    expect(status, JSON.stringify(body)).toBe(201);
    await until(`${agent} is ready`, () => logOf(body.id).includes('ready'), 60_000);
    await daemon.release(body.id);
    return daemon.ended(body.id, 60_000);
  }
  const steps = ({ evidence }: SessionView) => evidence?.ladder.map((one) => `${one.step}:${one.outcome}`);

  it.each([
    'default',
    'passes-on-late',
    'passes-on-at-once',
    'stops-its-recorder',
  ])('ends a worker cleanly in every try: %s', async (agent) => {
    const ends = await Promise.all(Array.from({ length: TRIES }, () => released(agent)));
    expect(ends.map((one) => one.exit)).toEqual(ends.map(() => expect.objectContaining({ code: 0 })));
    if (agent !== 'stops-its-recorder') expect(ends.map(({ id }) => termsOf(id))).toEqual(ends.map(() => 1));
    expect(ends.map(steps)).toEqual(ends.map(() => ['term:exited']));
  }, 120_000);

  it('reaches the agent of a wrapper that traps it once, before KILL', async () => {
    const ended = await released('traps-and-waits');
    expect(termsOf(ended.id)).toBe(1);
    expect(steps(ended)).toEqual(['term:exited']);
  }, 60_000);

  it('reaches each process once when the main process ignores it, and KILL ends the rest', async () => {
    const ended = await released('ignores-it');
    expect(termsOf(ended.id)).toBe(1);
    expect(steps(ended)).toEqual(['term:timeout', 'kill:exited']);
  }, 60_000);

  it('reaches what a main process left as soon as that is gone', async () => {
    const ended = await released('leaves-an-orphan');
    expect(termsOf(ended.id)).toBe(1);
    expect(steps(ended)).toEqual(['term:exited']);
    expect(marked(daemon.instanceId())).toEqual([]);
  }, 60_000);

  it('reaches all processes at once with `ladder.signal: all`', async () => {
    const ended = await released('signal-all');
    expect(ended.exit).toMatchObject({ signal: 'SIGTERM' });
    expect(termsOf(ended.id)).toBe(1);
  }, 60_000);
});
