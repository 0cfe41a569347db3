/** The real Python framework in a process that curfew's launcher takes for a zygote. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { findPythonAgents } from '../../../scripts/python-agents.mjs';
import { ROOT } from '../daemon/daemon.ts';

/** null: the framework is not installed. */
export const PYTHON = findPythonAgents();

/** Runs a Python text to its end. `env`: beside the variables of every zygote. */
export function runInZygote(code: string, env: Record<string, string>): { stdout: string; stderr: string } {
  return spawnSync(PYTHON ?? '', ['-c', code], {
    encoding: 'utf8',
    timeout: 60_000,
    env: {
      PATH: process.env.PATH ?? '',
      PYTHONPATH: join(ROOT, 'kits/python/launch'),
      CURFEW_ZYGOTE: '1',
      ...env,
    },
  });
}
