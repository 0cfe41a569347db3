/** Workers' lines on stdout: a slow reader harms no call, and dropped lines are counted. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';

const CALLS = 20;
/** The loud workers print at least this long while nobody reads. */
const SILENT_MS = 3000;

interface Line {
  readonly time: string;
  readonly session: string;
  readonly agent: string;
  readonly worker: string;
  readonly line: string;
  readonly dropped?: { lines: number; bytes: number };
}

let dir: string;
let daemon: Daemon;
/** The reader's end of the supervisor's stdout. */
let pipe: number;
let rest = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-forward-'));
  const fifo = join(dir, 'stdout');
  execFileSync('mkfifo', [fifo]);
  pipe = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
  writeFileSync(join(dir, 'lines'), `${'x'.repeat(99)}\n`.repeat(1000));
  rest = '';
  const loud = `while :; do cat ${join(dir, 'lines')}; sleep 0.1; done`;
  daemon = new Daemon({
    wrap: ['sh', '-c', `exec "$@" >${fifo}`, 'sh'],
    config: {
      logs: { forward: 'stdout' },
      shutdown: { on_term: 'leave' },
      limits: { start_rate: '1000/s' },
      agents: {
        loud: { command: ['sh', '-c', loud] },
        quiet: { command: ['sh', '-c', 'echo one; printf "two"; exec sleep 1000'] },
        kit: {
          command: [process.execPath, join(ROOT, 'test/fixtures/kits/agent.mjs')],
          protocol: 'curfew',
        },
      },
    },
  });
});
afterEach(async () => {
  await daemon.close();
  closeSync(pipe);
  rmSync(dir, { recursive: true });
});

/** All lines that the pipe has now. Each must be whole. */
function readLines(): Line[] {
  const chunk = Buffer.alloc(65_536);
  for (;;) {
    try {
      rest += chunk.toString('utf8', 0, readSync(pipe, chunk));
    } catch {
      break;
    }
  }
  const lines = rest.split('\n');
  rest = lines.pop() ?? '';
  return lines.map((one) => JSON.parse(one) as Line);
}

const forwarding = async () => (await daemon.get<CapacityView>('/v1/capacity')).body.forwarding;
const begin = async (agent: string, room: string) =>
  daemon.reaches((await daemon.dispatch({ room, agent })).body.id, ['live']);

it('20 calls that print 1 MB/s each into a slow reader go on, and dropped lines are counted', async () => {
  await daemon.start();
  const kit = await begin('kit', 'kit');
  const loud = await Promise.all(Array.from({ length: CALLS }, (_, at) => begin('loud', `loud-${at}`)));
  // The reader is stopped. Each worker fills its share.
  const since = Date.now();
  await until(
    'the reader is too slow for each worker',
    async () => Date.now() - since > SILENT_MS && (await forwarding())?.workers.length === CALLS,
    20_000,
  );
  const slow = await forwarding();
  expect(slow?.dropped.lines).toBeGreaterThan(1000);
  expect(slow?.waitingBytes).toBeLessThan(9 * 1024 * 1024);
  for (const { id, pid } of [kit, ...loud])
    expect(await daemon.session(id)).toMatchObject({ state: 'live', pid, restarts: 0 });

  const lines: Line[] = [];
  const told = () => new Set(lines.flatMap((one) => (one.dropped ? [one.session] : [])));
  await until('the output reports the dropped lines', () => {
    lines.push(...readLines());
    return told().size === CALLS;
  });
  expect(told()).toEqual(new Set(loud.map((one) => one.id)));
  for (const { id } of [kit, ...loud]) await daemon.release(id);
  for (const { id } of [kit, ...loud]) expect(await daemon.ended(id)).toMatchObject({ reason: 'requested' });
  expect(daemon.stderr).toContain('lines of workers were not forwarded');
  expect(daemon.stderr).not.toContain('xxx');
});

it('each line comes whole and once, over a restart of the supervisor, and the last one without its newline', async () => {
  await daemon.start();
  const { id } = await begin('quiet', 'quiet');
  const lines: Line[] = [];
  const has = (text: string) => () => {
    lines.push(...readLines());
    return lines.some((one) => one.line === text);
  };
  await until('the first line is forwarded', has('one'));
  await until('its place is noted', async () => (await forwarding()) !== null);
  daemon.signal('SIGTERM');
  await daemon.exited();
  await daemon.start();
  await daemon.release(id);
  await daemon.ended(id);
  await until('the last line is forwarded', has('two'));
  const own = lines.filter((one) => one.worker === `${id}.1` && !one.line.startsWith('curfew'));
  expect(own.map(({ session, agent, line }) => ({ session, agent, line }))).toEqual([
    { session: id, agent: 'quiet', line: 'one' },
    { session: id, agent: 'quiet', line: 'two' },
  ]);
  expect(Date.parse(own[0]?.time ?? '')).toBeGreaterThan(0);
});

it('a reader that comes back gets the lines that waited, and the log of curfew has no warning of Node', async () => {
  await daemon.start();
  const first = await begin('quiet', 'first');
  const lines: Line[] = [];
  const hasLineOf = (id: string) => () => {
    lines.push(...readLines());
    return lines.some((one) => one.session === id && one.line === 'one');
  };
  await until('the first line is forwarded', hasLineOf(first.id));
  closeSync(pipe);
  const { id } = await begin('quiet', 'second');
  await until('the reader is missed', async () => (await forwarding())?.error?.includes('EPIPE') === true);
  pipe = openSync(join(dir, 'stdout'), constants.O_RDWR | constants.O_NONBLOCK);
  await until('the line that waited is forwarded', hasLineOf(id));
  expect(daemon.stderr).not.toContain('Warning');
});
