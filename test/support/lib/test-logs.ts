/** Logs for code under test. */
import type { Log } from '../../../src/ports/log.ts';

const nothing = () => undefined;
export const SILENT: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** A log that keeps the fields of each entry. */
export function recordingLog(): { readonly log: Log; readonly entries: object[] } {
  const entries: object[] = [];
  const note = (fields: object) => void entries.push(fields);
  return { log: { debug: note, info: note, warn: note, error: note }, entries };
}
