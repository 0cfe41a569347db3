import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createLogCap } from '../../../src/adapters/worker/log/log-cap.ts';
import { LOGS } from '../../../src/lib/limits/worker-limits.ts';
import { recordingLog, SILENT } from '../../support/lib/test-logs.ts';
import { until } from '../../support/lib/wait.ts';
import { capsOneLogBeside, TINY } from '../../support/workers/capped-logs.ts';
import { fixture, openWorkers } from '../../support/workers/workers-rig.ts';

const LINE_BYTES = 1000;
const GIGABYTE = 1_000_000_000;
const MARKER = /\n--- curfew cut +(\d+) bytes here ---\n/;

let host: ReturnType<typeof openWorkers> | null = null;
afterEach(() => host?.dispose());

async function printMuch(open: ReturnType<typeof openWorkers>, bytes: number, maxBytes: number) {
  host = open;
  const done = join(open.instance.stateDir, 'done');
  const lines = Math.ceil(bytes / LINE_BYTES);
  const { id } = await open.start(fixture('prints-much.py', String(lines), done));
  await until('it has printed all', () => existsSync(done), 50_000);
  await until('it is cut while it lives', () => statSync(open.workers.logPath(id)).size < maxBytes);
  open.workers.signal(id, 'SIGKILL');
  await open.treeGone(id);
  await open.workers.close();
  return { log: readFileSync(open.workers.logPath(id), 'latin1'), lines };
}

/** The marker of a cut and the number of bytes that it reports; NaN: nothing was cut. */
function cutIn(log: string): { marker: string; cutBytes: number } {
  const [marker = '', cutBytes] = MARKER.exec(log) ?? [];
  return { marker, cutBytes: Number(cutBytes) };
}

/** The bytes that are still in the log plus those that its marker reports as cut. */
function accountedBytes(log: string): number {
  const { marker, cutBytes } = cutIn(log);
  return cutBytes + log.length - marker.length;
}

describe('the log of a worker', () => {
  const sizes = { headBytes: 64 * 1024, tailBytes: 256 * 1024, hardBytes: LOGS.hardBytes };

  it('keeps head and tail of 1 GB, and its marker counts the cut bytes', async () => {
    const { log, lines } = await printMuch(openWorkers(), GIGABYTE, 3 * LOGS.tailBytes);
    expect(MARKER.exec(log)?.index).toBe(LOGS.headBytes);
    expect(log.startsWith('line 000000000000 xxx')).toBe(true);
    expect(log.slice(LINE_BYTES)).toMatch(/^line 000000000001 xxx/);
    expect(log.slice(-LINE_BYTES)).toMatch(`line ${String(lines - 1).padStart(12, '0')} xxx`);
    expect(log.length).toBeLessThanOrEqual(LOGS.headBytes + LOGS.tailBytes + 100);
    // Race: bytes that the worker writes during a cut are lost uncounted. They are few, and no byte counts twice.
    const accounted = accountedBytes(log);
    expect(accounted).toBeLessThanOrEqual(lines * LINE_BYTES);
    expect(accounted).toBeGreaterThan(lines * LINE_BYTES * 0.9);
  });

  it('is unchanged within its cap', async () => {
    const { log, lines } = await printMuch(openWorkers({ logs: sizes }), 300_000, 320_001);
    expect(log.length).toBe(lines * LINE_BYTES);
    expect(MARKER.test(log)).toBe(false);
  });

  it('is cut exactly at its cap when it grows over the cap', async () => {
    const { log, lines } = await printMuch(openWorkers({ logs: sizes }), 400_000, 400_001);
    expect(MARKER.exec(log)?.index).toBe(sizes.headBytes);
    expect(accountedBytes(log)).toBe(lines * LINE_BYTES);
    expect(log.slice(-sizes.tailBytes)).not.toMatch(MARKER);
  });

  it('is reported once when its file is gone, and other logs are still cut', async () => {
    const entries = await capsOneLogBeside('gone', (dir) => join(dir, 'nowhere', 'log'));
    expect(entries).toEqual([{ worker: 'gone', error: expect.stringContaining('ENOENT') }]);
  });

  it('with a lease of its worker does not delay the cut of other logs', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-logs-'));
    const [kept, other] = [join(dir, 'kept'), join(dir, 'other')];
    for (const path of [kept, other]) writeFileSync(path, 'x'.repeat(10_000));
    const [command, ...args] = fixture('holds-lease.py', kept);
    const holder = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const cap = createLogCap({ log: SILENT, sizes: TINY });
    try {
      await once(holder.stdout, 'data');
      cap.watch('kept', kept);
      cap.watch('other', other);
      // The kernel breaks a lease after 45 s.
      await until('the other is cut', () => statSync(other).size < 1000, 20_000);
    } finally {
      holder.kill('SIGKILL');
      cap.close();
      rmSync(dir, { recursive: true });
    }
  });

  it('counts all bytes that were ever cut, also by earlier supervisors', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-logs-'));
    const path = join(dir, 'log');
    for (let start = 0; start < 3; start++) {
      const cap = createLogCap({ log: SILENT, sizes: TINY });
      appendFileSync(path, 'x'.repeat(10_000));
      cap.watch('kept', path);
      await cap.finish('kept');
      cap.close();
    }
    const log = readFileSync(path, 'latin1');
    rmSync(dir, { recursive: true });
    expect(cutIn(log).cutBytes).toBe(30_000 - 20);
  });

  it('is cut a last time, also when the cap closes at the same moment', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-logs-'));
    const { log, entries } = recordingLog();
    const cap = createLogCap({ log, sizes: TINY });
    const paths = ['first', 'a', 'b', 'c'].map((name) => join(dir, name));
    for (const path of paths) {
      writeFileSync(path, 'x'.repeat(10_000));
      cap.watch(path, path);
    }
    // The thread exists from its first cut on.
    await cap.finish(join(dir, 'first'));
    const finished = Promise.all(paths.map((path) => cap.finish(path)));
    cap.close();
    await finished;
    const left = paths.map((path) => statSync(path).size);
    rmSync(dir, { recursive: true });
    expect(Math.max(...left)).toBeLessThan(1000);
    expect(entries).toEqual([]);
  });

  it('ends at its hard bound, which does not end the worker', async () => {
    host = openWorkers({ logs: { headBytes: 10_000_000, tailBytes: 10_000_000, hardBytes: 1024 * 1024 } });
    const script = 'head -c 3000000 /dev/zero; echo "head said $?" >&2; exit 4';
    const { id } = await host.start(['sh', '-c', script]);
    expect(await host.exitOf(id)).toMatchObject({ code: 4, signal: null });
    expect(statSync(host.workers.logPath(id)).size).toBe(1024 * 1024);
  });
});
