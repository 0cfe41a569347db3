/** The Node version. Only commands that open the registry need the newest one; the others run on older versions too. */
import { CurfewError } from '../lib/errors.ts';
import { CLI } from '../lib/limits/api-limits.ts';

/** Throws `old_node`. Without this check Node prints a stack about a missing module. */
export function checkNode(version: string): void {
  if (Number.parseInt(version, 10) >= CLI.nodeMajor) return;
  throw new CurfewError(
    'old_node',
    `this command runs on Node ${version}, but a supervisor needs Node ${CLI.nodeMajor} or newer`,
    {
      version,
    },
  );
}
