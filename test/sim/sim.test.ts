/** A fixed set of seeds, and fresh ones for CURFEW_SIM_SECONDS. `npm run sim` is the long run. */
import { describe, expect, it } from 'vitest';
import { describeFailure } from './report.ts';
import { runSeed } from './run.ts';

const FIXED_SEEDS = 300;
/** Seeds that once found a fault, with that fault. Some of these faults were in a check or in the simulated world. */
const FOUND: readonly (readonly [seed: number, fault: string])[] = [
  [2_098_801_733, 'A crash cut a start short, and curfew could not void its claim file on the full disk.'],
  [2_098_605_330, 'A suspend outlasted the bound of KILL, and curfew took a dead worker for unkillable.'],
  [
    2_816_930,
    'A worker reported errors while the record of its replacement hung, and the check failed too early.',
  ],
  [
    4_210_456,
    "The earlier session's agent left, the webhook came late, and curfew took it for the new agent.",
  ],
  [
    6_180_193,
    'A crash erased a dispatch, and the check applied its limits to the next dispatch under its id.',
  ],
  [22_461_106, 'curfew did not record a keep_alive soon after another one, and a crash erased it.'],
  [27_552_185, 'A caller came back and was lost during a suspend, which the check expected curfew to know.'],
  [
    31_815_357,
    'A suspend delayed a record, curfew refused that call, and the check rejected the next one too early.',
  ],
  [
    32_400_548,
    'A supervisor died between KILL and the next scan, and the next one never saw the worker gone.',
  ],
  [200_015_661, 'A crash erased that a second worker was ready, which the check expected curfew to know.'],
  [100_028_825, 'A queued session did not restart its count of absence after its adoption.'],
  [
    100_035_814,
    'An empty list hid a caller that later lost the connection, and its grace began with that list.',
  ],
  [300_004_020, 'A simulated process ran on although a deadly signal waited for it, and got a call.'],
  [
    300_011_977,
    'A caller left during empty lists without a webhook, which the check expected curfew to know.',
  ],
  [500_035_996, 'The check did not expect a session that was being admitted while all were released.'],
  [600_046_460, 'The check did not expect a session whose first record waited for a slow disk.'],
  [700_022_771, 'A caller left between an adoption and the first snapshot after it.'],
  [700_026_537, 'A full disk left an ended session recorded as live, and its successor was recorded first.'],
  [800_012_814, 'The check took the last write of a dead supervisor for a decision.'],
  [
    1_000_046_716,
    'A session between two workers outlived a reboot, with deadlines on the clock of the earlier boot.',
  ],
  [
    743_896_711,
    'A warm worker raised while its session was starting, and SIGKILL cut its shutdown callbacks.',
  ],
  [749_524_920, 'A job raised while its session was starting, because `ready` died with the supervisor.'],
  [
    754_144_091,
    'The check took the late answer of a worker that was being replaced for that of its session.',
  ],
  [754_988_825, 'A second offer had the id of a job whose agent had rejected it after the assignment.'],
  [755_668_984, 'A phone hung up and came back unseen as a page, and the check wanted the grace of a page.'],
  [
    757_982_785,
    'A failed AgentSession had closed before the callers left, and the check knew only one that closes itself.',
  ],
  [
    776_611_687,
    'A phone that rang picked up after the other caller had left, and had an agent that answers nobody.',
  ],
  [40_871_518, 'The run released all sessions, and expected an empty world, while the host was suspended.'],
];
const FRESH_SECONDS = Number(process.env.CURFEW_SIM_SECONDS ?? 15);
const BOUND_MS = 600_000;

async function expectWell(seed: number): Promise<void> {
  const outcome = await runSeed(seed);
  expect(outcome.violation === null ? null : await describeFailure(outcome)).toBeNull();
}

describe('the simulation', () => {
  it(
    `curfew keeps every promise with the seeds from 1 to ${FIXED_SEEDS}`,
    async () => {
      for (let seed = 1; seed <= FIXED_SEEDS; seed++) await expectWell(seed);
    },
    BOUND_MS,
  );

  it.each(FOUND)('curfew keeps every promise with seed %i: %s', (seed) => expectWell(seed), BOUND_MS);

  it(
    `curfew keeps every promise with fresh seeds for ${FRESH_SECONDS} s`,
    async () => {
      const untilMs = performance.now() + FRESH_SECONDS * 1000;
      for (let seed = Date.now() % 2 ** 31; performance.now() < untilMs; seed++) await expectWell(seed);
    },
    BOUND_MS,
  );

  it('the simulation plays the same seed the same way', async () => {
    const [first, second] = [await runSeed(7, { tracing: true }), await runSeed(7, { tracing: true })];
    expect(second.trace).toEqual(first.trace);
    expect(first.events).toBeGreaterThan(1_000);
  });
});
