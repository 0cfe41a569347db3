/** Breaks each rule in a child process. The simulation must find the fault within a minute. */
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

/** Runs the simulation with that rule broken. Returns its exit code and output. */
function simulate(mutation: Mutation): Promise<{ code: number | string | null; output: string }> {
  const args = [
    '--disable-warning=ExperimentalWarning',
    '--import',
    join(ROOT, 'test', 'sim', 'mutate.ts'),
    join(ROOT, 'test', 'sim', 'main.ts'),
    ...['--from', String(mutation.seed ?? 1), '--seconds', String(FIND_S), '--brief'],
  ];
  const env = { ...process.env, CURFEW_SIM_MUTATION: JSON.stringify(mutation) };
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: ROOT, env, timeout: BOUND_MS }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (error.code ?? null), output: stdout + stderr }),
    );
  });
}

describe('broken rules', () => {
  it.for(MUTATIONS)('the simulation finds the fault when this rule is broken: $rule', {
    timeout: BOUND_MS + 30_000,
  }, async (mutation) => {
    expect(readFileSync(join(ROOT, mutation.file), 'utf8').split(mutation.from)).toHaveLength(2);
    const begunMs = performance.now();
    const { code, output } = await simulate(mutation);
    expect(code, output).toBe(FOUND);
    // A name that a rename left behind in the mutation would fail at once, and prove no check.
    expect(output).not.toMatch(/is not defined|is not a function/);
    const seed = Number(/^seed (\d+):/m.exec(output)?.[1]);
    process.stdout.write(
      `${mutation.rule}: found in ${((performance.now() - begunMs) / 1000).toFixed(1)} s\n  ${output}`,
    );
    // The same seed is well with the rule intact, so the simulation found the broken rule.
    expect((await runSeed(seed)).violation).toBeNull();
  });
});
