/**
 * `npm run sim`: the real core and runtime in a simulated world, checked after every event.
 *
 * - `--seed N`: plays that seed and prints its trace; with `--events` it stops after so many events
 * - `--events N`: fresh seeds until that many events have happened
 * - `--seconds N`: fresh seeds for that long (120)
 * - `--from N`: the seeds from N on in place of fresh ones
 * - `--brief`: prints only the seed and the violation, without the shortened run
 *
 * A violation prints the seed and a shortened trace, and exits with 3.
 */
import { parseArgs } from 'node:util';
import { describeFailure } from './report.ts';
import type { Outcome } from './run.ts';
import { runSeed } from './run.ts';

const WRONG = 3;
const SECONDS = 120;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    events: { type: 'string' },
    seconds: { type: 'string' },
    from: { type: 'string' },
    brief: { type: 'boolean', default: false },
  },
});

async function replay(seed: number, maxEvents: number | null): Promise<number> {
  const outcome = await runSeed(seed, { tracing: true, ...(maxEvents === null ? {} : { maxEvents }) });
  process.stdout.write(`${outcome.trace.join('\n')}\n`);
  if (outcome.violation === null) return say(`seed ${seed}: ${outcome.events} events, nothing wrong`, 0);
  return say(await describeFailure(outcome), WRONG);
}

async function many(limits: { events: number; seconds: number; from: number }): Promise<number> {
  const begunMs = performance.now();
  const sum = { seeds: 0, events: 0, sessions: 0, lives: 0 };
  const reasons: Record<string, number> = {};
  const seconds = () => (performance.now() - begunMs) / 1000;
  for (let seed = limits.from; sum.events < limits.events && seconds() < limits.seconds; seed++) {
    const outcome = await runSeed(seed);
    if (outcome.violation !== null) return wrong(outcome);
    sum.seeds += 1;
    sum.events += outcome.events;
    sum.sessions += outcome.sessions;
    sum.lives += outcome.lives;
    for (const [reason, count] of Object.entries(outcome.reasons))
      reasons[reason] = (reasons[reason] ?? 0) + count;
  }
  const tookS = seconds();
  const rate = Math.round(sum.events / tookS);
  say(
    `${sum.events} events in ${tookS.toFixed(1)} s (${rate}/s): ${sum.seeds} seeds from ${limits.from}, ${sum.sessions} sessions, ${sum.lives} supervisors; nothing wrong`,
    0,
  );
  return say(`endings: ${JSON.stringify(reasons)}`, 0);
}

async function wrong(outcome: Outcome): Promise<number> {
  if (values.brief) return say(`seed ${outcome.seed}: ${outcome.violation?.message}`, WRONG);
  return say(await describeFailure(outcome), WRONG);
}

function say(text: string, code: number): number {
  process.stdout.write(`${text}\n`);
  return code;
}

function number(text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new Error(`"${text}" is not a whole number`);
  return value;
}

const seed = number(values.seed);
const events = number(values.events);
process.exitCode =
  seed !== null
    ? await replay(seed, events)
    : await many({
        events: events ?? Number.POSITIVE_INFINITY,
        seconds: number(values.seconds) ?? (events === null ? SECONDS : Number.POSITIVE_INFINITY),
        from: number(values.from) ?? Date.now() % 2 ** 31,
      });
