/** Logs for those who want one. */
import type { Log } from '../../../src/ports/log.ts';

const nothing = () => undefined;
export const SILENT: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** Keeps the fields of whatever is said. */
export function notedLog(): { readonly log: Log; readonly said: object[] } {
  const said: object[] = [];
  const note = (fields: object) => void said.push(fields);
  return { log: { debug: note, info: note, warn: note, error: note }, said };
}
