/** Makes a failing run short: drops actions as long as the same check still fails, within a bound of time. */
import type { CheckName } from '../promises.ts';
import type { Outcome } from './run.ts';
import { runScenario } from './run.ts';
import type { Scenario } from './scenario.ts';
import { makeScenario } from './scenario.ts';

const SHRINK_MS = 30_000;

export interface Shrunk {
  readonly scenario: Scenario;
  readonly outcome: Outcome;
}

export async function shrink(seed: number, check: CheckName): Promise<Shrunk> {
  const untilMs = performance.now() + SHRINK_MS;
  let scenario = makeScenario(seed);
  for (let size = scenario.actions.length >> 1; size >= 1; size = size === 1 ? 0 : size >> 1)
    for (let at = 0; at < scenario.actions.length && performance.now() < untilMs; ) {
      const { actions } = scenario;
      const less = { ...scenario, actions: [...actions.slice(0, at), ...actions.slice(at + size)] };
      const { violation } = await runScenario(less);
      if (violation?.check === check) scenario = less;
      else at += size;
    }
  return { scenario, outcome: await runScenario(scenario, { tracing: true }) };
}
