/** Whether the simulation sees: each of the rules is broken in a child process, and must be found within a minute. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';
import type { Mutation } from './mutations.ts';
import { MUTATIONS } from './mutations.ts';
import { runSeed } from './run.ts';

const FIND_S = 60;
const BOUND_MS = 120_000;
const FOUND = 3;

/** The simulation with that rule broken; its exit code and its words. */
function simulate(mutation: Mutation): Promise<{ code: number | string | null; output: string }> {
  const args = [
    '--disable-warning=ExperimentalWarning',
    '--import',
    join(ROOT, 'test', 'sim', 'mutate.ts'),
    join(ROOT, 'test', 'sim', 'main.ts'),
    ...['--from', '1', '--seconds', String(FIND_S), '--brief'],
  ];
  const env = { ...process.env, CURFEW_SIM_MUTATION: JSON.stringify(mutation) };
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: ROOT, env, timeout: BOUND_MS }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (error.code ?? null), output: stdout + stderr }),
    );
  });
}

describe('a broken rule is found', () => {
  it.for(MUTATIONS)('$rule', { timeout: BOUND_MS + 30_000 }, async (mutation) => {
    expect(readFileSync(join(ROOT, mutation.file), 'utf8').split(mutation.from)).toHaveLength(2);
    const begunMs = performance.now();
    const { code, output } = await simulate(mutation);
    expect(code, output).toBe(FOUND);
    const seed = Number(/^seed (\d+):/m.exec(output)?.[1]);
    process.stdout.write(
      `${mutation.rule}: found in ${((performance.now() - begunMs) / 1000).toFixed(1)} s\n  ${output}`,
    );
    // It is the broken rule that was found: whole, the same seed is well.
    expect((await runSeed(seed)).violation).toBeNull();
  });
});
