/** What a person reads of a run that failed: the seed, what was done, and the end of the trace. */
import type { Outcome } from './run.ts';
import { shrink } from './shrink.ts';

const TRACE_LINES = 80;
/** Of no use to whoever looks for a fault. */
const NOISE =
  /: alarm$|registry (works|answers)|LiveKit (is asked|answers)| beats$| heartbeat$|connects again$/;

export async function describeFailure({ seed, violation }: Outcome): Promise<string> {
  if (violation === null) return `seed ${seed} fails nothing`;
  const { scenario, outcome } = await shrink(seed, violation.rule);
  const actions = scenario.actions.map(
    ({ atMs, ...deed }) => `  ${(atMs / 1000).toFixed(3)} ${JSON.stringify(deed)}`,
  );
  return [
    `seed ${seed}: ${violation.message}`,
    `again: npm run sim -- --seed ${seed}`,
    `shortened to ${actions.length} actions (ends by ${scenario.end}; ${outcome.violation?.message ?? 'fails no more'}):`,
    ...actions,
    'the last of what happened:',
    ...outcome.trace.filter((line) => !NOISE.test(line)).slice(-TRACE_LINES),
  ].join('\n');
}
