/** Writes one line to stderr. Because: on a full disk `process.stderr.write` would end the process of the agent. */
import { writeSync } from 'node:fs';

export function note(/** @type {string} */ line) {
  try {
    writeSync(2, `${line}\n`);
  } catch {
    // The line is lost, and the call goes on.
  }
}
