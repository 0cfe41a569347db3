/** Which of the logs of ended workers go, by the records that lie in their folders. */
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { folderOf, makeFolder, writeRecord } from '../../../src/adapters/worker/folder/worker-folder.ts';
import { LogShelf } from '../../../src/adapters/worker/log/log-shelf.ts';
import { workerId } from '../../../src/core/ids.ts';
import type { Reason } from '../../../src/core/model/reasons.ts';
import { toRecord } from '../../../src/core/model/session-record.ts';
import { Play, release } from '../../core/support.ts';
import { SILENT } from '../../support/lib/test-logs.ts';

const LOG_BYTES = 10_000;
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-shelf-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Ended in this second, with the record of its teardown as the last one, as curfew leaves it. */
async function ended(id: string, second: number, reason: Reason): Promise<void> {
  const folder = folderOf(dir, workerId(id));
  await makeFolder(folder);
  const { session } = Play.live().on(1000, { ...release, reason } as typeof release);
  expect(session.phase).toMatchObject({ name: 'closing', ending: { reason } });
  await writeRecord(folder, { session: toRecord(session) });
  writeFileSync(folder.log, 'x'.repeat(LOG_BYTES));
  utimesSync(folder.log, second, second);
}

const logOf = (id: string) => readFileSync(folderOf(dir, workerId(id)).log, 'utf8');

it('the log of a failed session stays while older and younger logs of released sessions go', async () => {
  await ended('a.1', 1, 'requested');
  await ended('crash.1', 2, 'crashed');
  for (let second = 3; second < 20; second += 1) await ended(`b${second}.1`, second, 'completed');
  // 18 logs of released sessions and the end of the failed one are over the limit together.
  const shelf = new LogShelf({ workersDir: dir, log: SILENT, limitBytes: () => 3 * LOG_BYTES });
  await shelf.load(() => false);
  await shelf.close();
  expect(logOf('a.1')).toContain('curfew dropped');
  expect(logOf('b10.1')).toContain('curfew dropped');
  expect(logOf('crash.1')).toBe('x'.repeat(LOG_BYTES));
});
