/** `npm run chaos -- --sessions N --seed S` prints the counts of its deeds, and exits with 1 after any violation. */
import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';

const { values } = parseArgs({
  options: {
    sessions: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
});
const [sessions, seed] = [Number(values.sessions), Number(values.seed)];
console.log(`${sessions} sessions, seed ${seed}`);
const { violations, counts, reasons, seconds } = await runChaos({ sessions, seed, say: console.log });
for (const [what, count] of Object.entries(counts)) console.log(`${String(count).padStart(8)} ${what}`);
console.log(
  `ended as ${Object.entries(reasons)
    .map(([reason, count]) => `${reason} ${count}`)
    .join(', ')}`,
);
console.log(
  violations.length === 0
    ? `nothing leaked, nothing doubled, no bystander killed, every reason true; ${seconds} s`
    : violations.join('\n'),
);
process.exitCode = violations.length === 0 ? 0 : 1;
