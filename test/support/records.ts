/** The database of a supervisor on disk, by a reading of the tests' own: an answer of the supervisor may be ahead of it. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { until } from './wait.ts';

export function recordedState(stateDir: string, id: string): string | null {
  const file = new DatabaseSync(join(stateDir, 'registry.db'), { readOnly: true, timeout: 1000 });
  try {
    const row = file.prepare('SELECT state FROM sessions WHERE id = ?').get(id);
    return row === undefined ? null : String(row.state);
  } finally {
    file.close();
  }
}

/** What a kill must not be faster than. */
export async function recorded(stateDir: string, id: string, state: string): Promise<void> {
  await until(`${id} is recorded as ${state}`, () => recordedState(stateDir, id) === state);
}
