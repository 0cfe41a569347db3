/** Reasons, deadlines, limits and hostile workers, with a real supervisor and real processes; no LiveKit is needed. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Daemon, MAIN, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { isAlive } from '../support/processes/test-processes.ts';

const fixture = (name: string) => join(ROOT, 'test/fixtures', name);
const python = (name: string, ...args: string[]) => ['python3', fixture(`workers/${name}`), ...args];
const LADDER = { aclose: '600ms', disconnect: '600ms', term: '400ms', kill: '8s' };
const HEARTBEAT_STALE = '5s';

let daemon: Daemon;

beforeAll(async () => {
  daemon = new Daemon({
    env: { A_SECRET: 'must-not-leak' },
    config: {
      limits: { sessions: 300, start_rate: '1000/s', per_user: 'off' },
      agents: {
        default: { command: ['sleep', '1000'], ladder: LADDER },
        level1: {
          command: [process.execPath, fixture('control/level1.mjs')],
          protocol: 'curfew',
          ladder: LADDER,
          heartbeat_stale: HEARTBEAT_STALE,
        },
        shell: {
          command: [
            'sh',
            '-c',
            'eval "$(echo "$CURFEW_METADATA" | sed -n \'s/.*"run":"\\([^"]*\\)".*/\\1/p\')"',
          ],
          ladder: LADDER,
        },
        missing: { command: ['/does/not/exist'] },
        'ignores-term': { command: [fixture('workers/ignores-term.sh')], ladder: LADDER },
        'blocked-loop': { command: [process.execPath, fixture('workers/blocked-loop.mjs')], ladder: LADDER },
        'setsid-grandchild': { command: python('setsid-grandchild.py'), ladder: LADDER },
        'double-fork': { command: python('double-fork.py'), ladder: LADDER },
        'closes-stdio': { command: python('closes-stdio.py'), ladder: LADDER },
        'holds-stdout': { command: python('holds-stdout.py'), ladder: LADDER },
        forks: { command: python('forks.py'), ladder: LADDER },
        'prints-much': { command: python('prints-much.py', '1000000', '/dev/null'), ladder: LADDER },
        big: { command: python('eats-memory.py'), memory: '64MiB', ladder: LADDER },
      },
    },
  });
  await daemon.start();
});

afterAll(async () => {
  await daemon?.close();
});

let rooms = 0;

async function start(agent: string, more: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await daemon.dispatch({ room: `w${++rooms}`, agent, ...more });
  expect(status, JSON.stringify(body)).toBe(201);
  return body.id;
}

const live = async (agent: string, more: Record<string, unknown> = {}) => {
  const id = await start(agent, more);
  await daemon.reaches(id, ['live']);
  return id;
};
const marksOf = (id: string) => marked(daemon.instanceId()).filter((one) => one.worker.startsWith(`${id}.`));
const logOf = (id: string) => readFileSync(join(daemon.dir, 'state/workers', `${id}.1`, 'log'), 'utf8');

describe('the end of a worker', () => {
  it.each([
    ['exit 0', { state: 'released', reason: 'completed', exit: { code: 0, signal: null } }],
    ['exit 3', { state: 'failed', reason: 'crashed', exit: { code: 3, signal: null } }],
    ['kill -9 $$', { state: 'failed', reason: 'crashed', exit: { code: null, signal: 'SIGKILL' } }],
    ['kill -SEGV $$', { state: 'failed', reason: 'crashed', exit: { code: null, signal: 'SIGSEGV' } }],
  ])('a worker that ends with `%s` gives its session the matching reason and exit', async (run, expected) => {
    expect(await daemon.ended(await start('shell', { metadata: { run } }))).toMatchObject(expected);
  });

  it('a session names the command that could not be started', async () => {
    const ended = await daemon.ended(await start('missing'));
    expect(ended).toMatchObject({
      state: 'failed',
      reason: 'crashed',
      pid: null,
      evidence: { cause: 'spawn_failed', detail: expect.stringContaining('/does/not/exist') },
    });
  });

  it('a session that was never started is not found', async () => {
    expect(await daemon.get('/v1/sessions/nobody')).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    });
  });
});

describe('reports of a worker', () => {
  const reports = (mode: string, more: Record<string, unknown> = {}) =>
    live('level1', { metadata: { mode, ...more } });

  it('a session fails as error_limit after 5 errors in a row', async () => {
    const ended = await daemon.ended(await start('level1', { metadata: { mode: 'errors' } }));
    expect(ended).toMatchObject({
      state: 'failed',
      reason: 'error_limit',
      errors: { consecutive: 5, limit: 5, total: 5 },
    });
    expect(ended.evidence?.detail).toContain('error 5');
  });

  it('a session stays live through 4 errors, an ok and 4 more errors', async () => {
    const id = await reports('errors-and-ok');
    await until('all errors were heard', async () => (await daemon.session(id)).errors.total === 8);
    expect(await daemon.session(id)).toMatchObject({ state: 'live', errors: { consecutive: 4 } });
    await daemon.release(id);
    expect(await daemon.ended(id)).toMatchObject({ reason: 'requested', exit: { code: 0 } });
  });

  it('a worker that falls silent is asked for its stacks and ended', async () => {
    const id = await reports('silent');
    const ended = await daemon.ended(id);
    expect(ended).toMatchObject({ state: 'failed', reason: 'unresponsive' });
    const [firstStep] = ended.evidence?.ladder ?? [];
    expect(firstStep?.step).toBe('term');
    expect(logOf(id)).toContain('"type":"dump"');
  });

  it('a worker acknowledges new metadata', async () => {
    const id = await reports('plain');
    const patched = await daemon.call<SessionView>('PATCH', `/v1/sessions/${id}/metadata`, {
      metadata: { lang: 'fr' },
    });
    expect(patched.body.metadata).toEqual({ lang: 'fr' });
    await until('the worker has the metadata', () =>
      logOf(id).includes('{"type":"configure","rev":1,"metadata":{"lang":"fr"}}'),
    );
    await daemon.release(id);
    await daemon.ended(id);
  });

  it('a worker hears of its maximum duration 60 s before it, or at once for a shorter one', async () => {
    const id = await live('level1', { metadata: { mode: 'plain' }, limits: { maxDurationMs: 30_000 } });
    await until('the worker has the notice', () =>
      logOf(id).includes('"type":"notice","reason":"max_duration"'),
    );
    await daemon.release(id);
    await daemon.ended(id);
  });

  it('a session ends at its maximum duration', async () => {
    const id = await start('level1', { metadata: { mode: 'plain' }, limits: { maxDurationMs: 1000 } });
    expect(await daemon.ended(id)).toMatchObject({ state: 'released', reason: 'max_duration' });
  });

  it('a worker that never becomes ready ends its session as start_timeout', async () => {
    const id = await start('level1', { metadata: { mode: 'never-ready' }, limits: { startTimeoutMs: 1000 } });
    expect(await daemon.ended(id)).toMatchObject({ state: 'failed', reason: 'start_timeout', liveAt: null });
  });

  it('the first activity arms the idle timeout, and keep_alive moves it', async () => {
    const id = await live('level1', {
      metadata: { mode: 'activity' },
      limits: { activityIdleTimeoutMs: 30_000 },
    });
    const idle = async () => (await daemon.session(id)).deadlines.find((one) => one.kind === 'idle_timeout');
    const before = await until('the idle timeout is armed', idle);
    expect(before.inMs).toBeLessThanOrEqual(30_000);
    await daemon.call('POST', `/v1/sessions/${id}/keep_alive`, { forMs: 600_000 });
    expect((await idle())?.inMs).toBeGreaterThan(500_000);
    await daemon.release(id);
    await daemon.ended(id);
  });
});

describe('hostile workers', () => {
  it.each([
    'ignores-term',
    'blocked-loop',
    'setsid-grandchild',
    'double-fork',
    'closes-stdio',
    'forks',
    'prints-much',
  ])('the hostile worker %s ends within its ladder and leaves no process', async (agent) => {
    const id = await live(agent);
    await until('the worker has begun', () => /^(up$|line )/m.test(logOf(id)));
    await daemon.release(id);
    const ended = await daemon.ended(id);
    expect(ended).toMatchObject({ state: 'released', reason: 'requested' });
    const [firstStep] = ended.evidence?.ladder ?? [];
    expect(firstStep?.step).toBe('term');
    expect(marksOf(id)).toEqual([]);
  });

  it('a session does not end before the last child of its worker is gone', async () => {
    const id = await start('holds-stdout');
    expect(await daemon.ended(id)).toMatchObject({ state: 'failed', reason: 'crashed', exit: { code: 7 } });
    expect(marksOf(id)).toEqual([]);
  });

  it('a worker that prints 1 GB does not fill the disk', async () => {
    const id = await live('prints-much');
    const log = join(daemon.dir, 'state/workers', `${id}.1`, 'log');
    await until('the worker has printed', () => existsSync(log) && statSync(log).size > 1_000_000);
    await daemon.release(id);
    await daemon.ended(id);
    // The session's end does not wait for the last cut of the log.
    await until('the log is cut', () => statSync(log).size < 32 * 1024 * 1024);
  });

  it('a worker that floods the socket does not starve another one', async () => {
    const id = await live('level1', { metadata: { mode: 'floods' } });
    expect((await daemon.get('/healthz')).status).toBe(200);
    const other = await live('level1', { metadata: { mode: 'plain' } });
    await daemon.release(other);
    expect(await daemon.ended(other)).toMatchObject({ reason: 'requested', exit: { code: 0 } });
    await daemon.release(id);
    expect(await daemon.ended(id)).toMatchObject({ reason: 'requested' });
  });

  it('a worker that never closes is killed after each earlier step had its full time', async () => {
    const id = await live('level1', { metadata: { mode: 'never-closes' } });
    await daemon.release(id);
    const ended = await daemon.ended(id);
    expect(ended.evidence?.ladder.map((one) => [one.step, one.outcome])).toEqual([
      ['aclose', 'timeout'],
      ['disconnect', 'timeout'],
      ['term', 'timeout'],
      ['kill', 'exited'],
    ]);
    expect(ended).toMatchObject({ state: 'released', reason: 'requested', exit: { signal: 'SIGKILL' } });
  });

  it('a session keeps its first cause when its worker dies during the teardown', async () => {
    const id = await live('level1', { metadata: { mode: 'dies-in-aclose' } });
    await daemon.release(id);
    expect(await daemon.ended(id)).toMatchObject({
      state: 'released',
      reason: 'requested',
      exit: { code: 3 },
    });
  });

  it('a worker that takes too much memory ends its session as memory_limit', async () => {
    const { reason, evidence } = await daemon.ended(await start('big'));
    expect(reason).toBe('memory_limit');
    expect(evidence?.detail).toMatch(/^\d+ MiB, proportional set size; the limit is 64 MiB$/);
  });
});

describe('secrets and hostile names', () => {
  it('a worker gets its own tokens and no secret of the supervisor', async () => {
    const id = await live('default');
    const environ = readFileSync(`/proc/${(await daemon.session(id)).pid}/environ`, 'utf8');
    expect(environ).toContain(`CURFEW_SESSION_ID=${id}`);
    expect(environ).not.toContain('must-not-leak');
    const stateDir = join(daemon.dir, 'state');
    const secrets = [
      readFileSync(join(stateDir, 'admin.token'), 'utf8').trim(),
      readFileSync(join(stateDir, 'master.key'), 'utf8').trim(),
    ];
    const answers = JSON.stringify([
      await daemon.session(id),
      (await daemon.get('/v1/capacity')).body,
      (await daemon.get('/v1/sessions')).body,
    ]);
    const commands = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => readSafely(`/proc/${pid}/cmdline`))
      .join('\n');
    const token = /CURFEW_TOKEN=([^\0]+)/.exec(environ)?.[1] ?? 'none';
    for (const secret of [...secrets, token]) {
      expect(daemon.stderr).not.toContain(secret);
      expect(answers).not.toContain(secret);
      expect(commands).not.toContain(secret);
    }
    for (const secret of secrets) expect(environ).not.toContain(secret);
    await daemon.release(id);
    await daemon.ended(id);
  });

  it.each([
    '; touch /tmp/curfew-owned',
    '$(touch /tmp/curfew-owned)',
    '../../../etc/passwd',
    '`id`',
    'кухня 🍳',
    'a b "c" \'d\'',
  ])('the room name %s reaches the worker unchanged and runs nothing', async (room) => {
    const { status, body } = await daemon.dispatch({ room, agent: 'default' });
    expect(status).toBe(201);
    await daemon.reaches(body.id, ['live']);
    expect(readFileSync(`/proc/${(await daemon.session(body.id)).pid}/environ`, 'utf8')).toContain(
      `CURFEW_ROOM=${room}\0`,
    );
    expect(existsSync('/tmp/curfew-owned')).toBe(false);
    await daemon.release(body.id);
    await daemon.ended(body.id);
  });
});

function readSafely(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

describe('ids of a client', () => {
  it('a repeated id gives the same session for the same body, also after its end, and else a conflict', async () => {
    const body = { room: 'same', id: 'call-1', agent: 'default', metadata: { a: 1, b: 2 } };
    const answers = await Promise.all([
      daemon.dispatch(body),
      daemon.dispatch({ ...body, metadata: { b: 2, a: 1 } }),
    ]);
    expect(answers.map((one) => one.status).sort()).toEqual([200, 201]);
    expect(await daemon.dispatch({ ...body, room: 'other' })).toMatchObject({
      status: 409,
      body: { code: 'id_conflict' },
    });
    await daemon.reaches('call-1', ['live']);
    await daemon.release('call-1');
    await daemon.ended('call-1');
    expect(await daemon.dispatch(body)).toMatchObject({
      status: 200,
      body: { id: 'call-1', state: 'released' },
    });
  });
});

it.each([
  'call:17',
  'a.b_c-D',
  '9'.repeat(128),
])('a client may choose the id %s, and the mark of the worker has it', async (id) => {
  const { status } = await daemon.dispatch({ room: `id ${id.slice(0, 9)}`, id, agent: 'default' });
  expect(status).toBe(201);
  await daemon.reaches(id, ['live']);
  expect(marksOf(id).length).toBeGreaterThan(0);
  await daemon.release(id);
  expect(await daemon.ended(id)).toMatchObject({ reason: 'requested' });
});

describe('curfew run', () => {
  const run = (...args: string[]) => {
    const child = spawn(process.execPath, [MAIN, 'run', '--room', 'r', ...args], {
      env: { PATH: process.env.PATH ?? '', HOME: '/', NO_COLOR: '1' },
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
    });
    const code = new Promise<number | null>((resolve) => child.once('exit', resolve));
    return { child, code, out: () => out, err: () => err };
  };

  it('curfew run shows the output of the worker and exits with 0 for released', async () => {
    const one = run('--', 'sh', '-c', 'echo "hello from $CURFEW_ROOM"');
    expect(await one.code, one.err()).toBe(0);
    expect(one.out()).toContain('hello from r');
    expect(one.err()).toContain('completed');
  });

  it('curfew run exits with the code of its reason', async () => {
    const one = run('--', 'sh', '-c', 'exit 9');
    expect(await one.code, one.err()).toBe(12);
    expect(one.err()).toContain('crashed');
  });

  it.each(['SIGHUP', 'SIGQUIT'] as const)('curfew run ends its worker on %s', async (signal) => {
    const one = run('--', 'sh', '-c', 'echo "up $$"; exec sleep 1000');
    const pid = await until('the worker is up', () => Number(/up (\d+)/.exec(one.out())?.[1]), 20_000);
    one.child.kill(signal);
    expect(await one.code, one.err()).toBe(0);
    expect(isAlive(pid)).toBe(false);
  });

  it('curfew run ends when its output has no reader any more', async () => {
    const one = run('--', 'sh', '-c', 'trap "exit 0" TERM; while :; do echo "up $$"; sleep 0.1; done');
    const pid = await until('the worker is up', () => Number(/up (\d+)/.exec(one.out())?.[1]), 20_000);
    one.child.stdout.destroy();
    expect(await one.code, one.err()).toBe(0);
    expect(isAlive(pid)).toBe(false);
  });

  it('curfew run takes Ctrl-C for a release', async () => {
    const one = run('--', 'sh', '-c', 'trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.1; done');
    await until('the worker is up', () => one.out().includes('up'), 20_000);
    one.child.kill('SIGINT');
    one.child.kill('SIGINT');
    expect(await one.code, one.err()).toBe(0);
    expect(one.out()).toContain('bye');
    expect(one.err()).toContain('requested');
  });
});
