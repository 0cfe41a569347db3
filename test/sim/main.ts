/** `npm run sim`: many seeds, or one again. */
import { runSeed } from './run.ts';

const args = process.argv.slice(2);
const from = Number(args[0] ?? 1);
const count = Number(args[1] ?? 100);
const begun = performance.now();
let events = 0,
  sessions = 0,
  lives = 0,
  bad = 0;
const reasons: Record<string, number> = {};
for (let seed = from; seed < from + count; seed++) {
  const out = await runSeed(seed, count === 1);
  events += out.events;
  sessions += out.sessions;
  lives += out.lives;
  for (const [k, v] of Object.entries(out.reasons)) reasons[k] = (reasons[k] ?? 0) + v;
  if (count === 1) console.log(out.trace.join('\n'));
  if (out.violation) {
    bad++;
    console.log(seed, out.violation.message);
  }
}
const s = (performance.now() - begun) / 1000;
console.log({ events, sessions, lives, bad, s, perSecond: Math.round(events / s), reasons });
