/** Sessions in a supervisor's database on disk, because an answer of the supervisor can be ahead of its records. The tests read it with their own code. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { SessionRecord } from '../../../src/core/model/session-record.ts';
import { until } from '../lib/wait.ts';

const open = (stateDir: string, readOnly: boolean) =>
  new DatabaseSync(join(stateDir, 'registry.db'), { readOnly, timeout: 1000 });

export function recordedState(stateDir: string, id: string): string | null {
  const file = open(stateDir, true);
  try {
    const row = file.prepare('SELECT state FROM sessions WHERE id = ?').get(id);
    return row === undefined ? null : String(row.state);
  } finally {
    file.close();
  }
}

/** Waits for a record on disk, so that a kill cannot come before it. */
export async function recorded(stateDir: string, id: string, state: string): Promise<void> {
  await until(`${id} is recorded as ${state}`, () => recordedState(stateDir, id) === state);
}

/** Moves the start of a session into the past. The supervisor must not run. */
export function beganEarlier(stateDir: string, id: string, byMs: number): void {
  const file = open(stateDir, false);
  try {
    const row = file.prepare('SELECT body FROM sessions WHERE id = ?').get(id);
    const session = JSON.parse(String(row?.body)) as SessionRecord;
    if (!('startedAt' in session.phase) || session.phase.startedAt === null)
      throw new Error(`${id} has not begun`);
    const { bootMs, wallMs } = session.phase.startedAt;
    const startedAt = { bootMs: bootMs - byMs, wallMs: wallMs - byMs };
    const body = JSON.stringify({ ...session, phase: { ...session.phase, startedAt } });
    file.prepare('UPDATE sessions SET body = ? WHERE id = ?').run(body, id);
  } finally {
    file.close();
  }
}
