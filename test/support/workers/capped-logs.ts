/** A cap on two logs, one of them unreadable. Returns the log entries until the other log was cut three times. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogCap } from '../../../src/adapters/worker/log/log-cap.ts';
import { recordingLog } from '../lib/test-logs.ts';
import { until } from '../lib/wait.ts';

export const TINY = { headBytes: 10, tailBytes: 10 };

export async function capsOneLogBeside(worker: string, pathIn: (dir: string) => string): Promise<object[]> {
  const dir = mkdtempSync(join(tmpdir(), 'curfew-logs-'));
  const { log, entries } = recordingLog();
  const cap = createLogCap({ log, sizes: TINY });
  const path = join(dir, 'log');
  cap.watch(worker, pathIn(dir));
  cap.watch('readable', path);
  try {
    for (let round = 0; round < 3; round++) {
      writeFileSync(path, 'x'.repeat(10_000));
      await until('it is cut', () => statSync(path).size < 1000);
    }
  } finally {
    cap.close();
    rmSync(dir, { recursive: true });
  }
  return entries;
}
