/** A fixed set of seeds, and fresh ones for as long as CURFEW_SIM_SECONDS says. `npm run sim` is the long run. */
import { describe, expect, it } from 'vitest';
import { describeFailure } from './report.ts';
import { runSeed } from './run.ts';

const FIXED_SEEDS = 300;
/** Seeds that once found a fault. */
const FOUND = [
  // The claim of a start that a crash had cut short could not be voided: the disk was full.
  2_098_801_733,
  // The supervisor stood still over the bound of KILL, and took a dead worker for unkillable.
  2_098_605_330,
  // Errors told while the record of a replacement hung: the check itself was too early.
  2_816_930,
  // The leaving of the last session's agent was told late, and taken for this one's.
  4_210_456,
  // Another dispatch under the id of one that a crash had taken was held against the first one's limits.
  6_180_193,
  // A keep-alive soon after another one was not recorded, and a crash forgot it.
  22_461_106,
  // A caller hung up, was back and was lost while the host was suspended: the check itself knew too much.
  27_552_185,
  // A record was late by a suspend, its call refused, and the next one of the room taken in: the check was too early.
  31_815_357,
  // A supervisor died between KILL and the look after it; the next one never saw that the worker was gone at last.
  32_400_548,
  // A second worker was ready, which a crash had forgotten, and then it hung: the check itself knew too much.
  200_015_661,
  // A queued session that was taken over did not count absence anew.
  100_028_825,
  // A caller whom an empty list had hidden lost the connection, and its grace had begun with the list.
  100_035_814,
  // A warm worker was handed out that a signal was waiting for: the simulated process ran on, which none does.
  300_004_020,
  // A caller went while LiveKit gave empty lists, and no word of it came: the check itself knew too much.
  300_011_977,
  // A session that was just taken in when all were released; and one whose first record a slow disk kept: both by the check alone.
  500_035_996,
  600_046_460,
  // A caller went in the moment between a take-over and the first look after it.
  700_022_771,
  // A session that had ended on a full disk was on record as live still, and the one in its place was recorded first.
  700_026_537,
  // The last words of a supervisor that had died in the middle were taken for its will.
  800_012_814,
  // A session between two workers outlived its host, and its deadlines were of the other boot's clock.
  1_000_046_716,
  // All were released, and the world found empty, while the host was suspended.
  40_871_518,
];
const FRESH_SECONDS = Number(process.env.CURFEW_SIM_SECONDS ?? (process.env.CI === undefined ? 20 : 120));
const BOUND_MS = 600_000;

async function expectWell(seed: number): Promise<void> {
  const outcome = await runSeed(seed);
  expect(outcome.violation === null ? null : await describeFailure(outcome)).toBeNull();
}

describe('nothing lost, nothing doubled, nothing left behind', () => {
  it(
    `with the seeds from 1 to ${FIXED_SEEDS}`,
    async () => {
      for (let seed = 1; seed <= FIXED_SEEDS; seed++) await expectWell(seed);
    },
    BOUND_MS,
  );

  it.each(FOUND)('with seed %i', (seed) => expectWell(seed), BOUND_MS);

  it(
    `with fresh seeds for ${FRESH_SECONDS} s`,
    async () => {
      const untilMs = performance.now() + FRESH_SECONDS * 1000;
      for (let seed = Date.now() % 2 ** 31; performance.now() < untilMs; seed++) await expectWell(seed);
    },
    BOUND_MS,
  );

  it('plays the same seed the same way', async () => {
    const [first, second] = [await runSeed(7, { tracing: true }), await runSeed(7, { tracing: true })];
    expect(second.trace).toEqual(first.trace);
    expect(first.events).toBeGreaterThan(1_000);
  });
});
