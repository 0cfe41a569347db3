/** What curfew runs on. Only the commands that open the registry need it; those that ask a supervisor run on older ones, too. */
import { CurfewError } from '../lib/errors.ts';
import { CLI } from '../lib/limits/api-limits.ts';

/** Rejects old_node: said in one line, instead of the stack of a module that is not there. */
export function checkNode(version: string): void {
  if (Number.parseInt(version, 10) >= CLI.nodeMajor) return;
  throw new CurfewError(
    'old_node',
    `this is Node ${version}; a supervisor needs Node ${CLI.nodeMajor} or newer`,
    {
      version,
    },
  );
}
