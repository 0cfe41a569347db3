/** The report of a failed run for a person: the seed, the actions and the end of the trace. */
import type { Outcome } from './run.ts';
import { shrink } from './shrink.ts';

const TRACE_LINES = 80;
/** Lines that do not help to find a fault. */
const NOISE =
  /: alarm$|registry (works|answers)|LiveKit (is asked|answers)| beats$| heartbeat$|connects again$/;

export async function describeFailure({ seed, violation }: Outcome): Promise<string> {
  if (violation === null) return `seed ${seed} fails nothing`;
  const { scenario, outcome } = await shrink(seed, violation.check);
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
