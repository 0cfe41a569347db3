/** A hundred dispatches at the same time: the time until each process runs, next to as many raw spawns. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Daemon } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import type { Took } from './warm.ts';

const CALLS = 100;
/** Writes its start time in milliseconds and waits. */
const PROGRAM = 'date +%s%3N > "$BENCH_DIR/$CURFEW_ROOM"; exec sleep 1000';

export async function measureBurst(): Promise<Took> {
  const dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  const daemon = new Daemon({
    config: {
      log: { level: 'warn' },
      limits: { sessions: 2 * CALLS, start_rate: '10000/s', per_user: 'off' },
      agents: {
        default: { command: ['sh', '-c', PROGRAM], env: { BENCH_DIR: dir }, ladder: { term: '2s' } },
      },
    },
  });
  try {
    await daemon.start();
    const rawMs = await startTimes(dir, 'raw', () => rawSpawns(dir));
    const ms = await startTimes(dir, 'call', () =>
      Promise.all(Array.from({ length: CALLS }, (_, call) => daemon.dispatch({ room: `call${call}` }))),
    );
    return { what: `${CALLS} dispatches at once → each process running`, ms, rawMs, goal: '' };
  } finally {
    await daemon.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

function rawSpawns(dir: string): () => void {
  const children = Array.from({ length: CALLS }, (_, call) =>
    spawn('sh', ['-c', PROGRAM], {
      stdio: 'ignore',
      env: { ...process.env, BENCH_DIR: dir, CURFEW_ROOM: `raw${call}` },
    }),
  );
  return () => {
    for (const child of children) child.kill('SIGKILL');
  };
}

/** The start time of each program, in milliseconds after the call. */
async function startTimes(dir: string, prefix: string, start: () => unknown): Promise<number[]> {
  const fromMs = Date.now();
  const end = await start();
  const times = () =>
    readdirSync(dir)
      .filter((name) => name.startsWith(prefix))
      .map((name) => Number(readFileSync(join(dir, name), 'utf8')))
      .filter((atMs) => atMs > 0);
  await until('all run', () => times().length === CALLS, 60_000);
  if (typeof end === 'function') end();
  return times().map((atMs) => atMs - fromMs);
}
