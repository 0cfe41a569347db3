/** Time from `kill -9` of a worker until its replacement runs, with and without the backoff. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Callers } from '../test/support/callers/callers.ts';
import { Daemon } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import { LiveKit } from '../test/support/livekit/livekit-server.ts';
import type { Took } from './warm.ts';

const ROUNDS = 20;
/** Writes its start time in milliseconds and waits. */
const PROGRAM = 'date +%s%3N > "$BENCH_DIR/$CURFEW_ROOM.$CURFEW_ATTEMPT"; exec sleep 1000';
const SETTLED_MS = 300;

/** The session shows the end of the backoff before the replacement. */
export async function measureCrash(): Promise<readonly Took[]> {
  const livekit = await LiveKit.start();
  const dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  const daemon = new Daemon({
    dir,
    config: {
      ...livekit.config(join(dir, 'c.sock')),
      log: { level: 'warn' },
      presence: { poll_interval: '1s' },
      limits: { sessions: 100, start_rate: '1000/s', per_user: 'off' },
      agents: {
        default: { command: ['sh', '-c', PROGRAM], start_timeout: '1h', env: { BENCH_DIR: dir } },
      },
    },
  });
  const callers = new Callers(livekit);
  const [all, own, raw]: [number[], number[], number[]] = [[], [], []];
  try {
    await daemon.start();
    for (let round = 0; round < ROUNDS; round++) {
      const room = `r${round}`;
      const { body } = await daemon.dispatch({ room });
      await callers.join(room, 'ann');
      await until('the caller is seen', async () => (await daemon.session(body.id)).presence?.callers === 1);
      await pause(SETTLED_MS);
      const { pid } = await daemon.session(body.id);
      const killedMs = Date.now();
      process.kill(pid ?? 0, 'SIGKILL');
      const dueMs = await until('it is to be replaced', async () => {
        const { deadlines, restarts } = await daemon.session(body.id);
        const due = deadlines.find((one) => one.kind === 'replace')?.at;
        return due ?? (restarts > 0 ? 'missed' : null);
      }).then((at) => Date.parse(at));
      const begunMs = await beginOf(join(dir, `${room}.2`));
      all.push(begunMs - killedMs);
      // NaN: on a busy machine the poll misses the backoff.
      if (!Number.isNaN(dueMs)) own.push(begunMs - dueMs);
      raw.push(await rawStart(dir, room));
      await daemon.release(body.id);
    }
  } finally {
    callers.kill();
    await daemon.close();
    await livekit.close();
    rmSync(dir, { recursive: true, force: true });
  }
  return [
    { what: 'kill -9 of a worker → the next one runs', ms: all, goal: 'the backoff of 450 to 550 ms + 5' },
    { what: 'the same, from the end of the backoff', ms: own, goal: '≤ 5' },
    { what: 'the same program without curfew', ms: raw, goal: '' },
  ];
}

/** The raw limit: the same program. */
async function rawStart(dir: string, room: string): Promise<number> {
  const fromMs = Date.now();
  const child = spawn('sh', ['-c', PROGRAM], {
    stdio: 'ignore',
    env: { ...process.env, BENCH_DIR: dir, CURFEW_ROOM: room, CURFEW_ATTEMPT: 'raw' },
  });
  const begunMs = await beginOf(join(dir, `${room}.raw`));
  child.kill('SIGKILL');
  return begunMs - fromMs;
}

function beginOf(path: string): Promise<number> {
  return until('it runs', () => (existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0));
}
