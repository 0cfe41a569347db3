/** Plays scenarios of one version under LiveKit's own runner and in other ways, and compares them. */
import { factsOf } from './call-facts.ts';
import type { Allowed, Difference } from './differences.ts';
import { compare, isAllowedBy } from './differences.ts';
import type { Lanes } from './lanes.ts';
import type { Played } from './play-call.ts';
import { playCall } from './play-call.ts';
import { PRODUCTION } from './production-calls.ts';
import type { Scenario } from './scenarios.ts';
import { SCENARIOS } from './scenarios.ts';
import type { StageOptions } from './stage.ts';
import { Stage } from './stage.ts';
import type { Way } from './ways.ts';

export interface Part {
  readonly version: string;
  readonly ways: readonly Exclude<Way, 'livekit'>[];
  /** Absent: all scenarios of this version. */
  readonly scenarios?: readonly string[];
  readonly loop?: StageOptions['loop'];
  /** The file of the agent. Absent: observer. */
  readonly file?: string;
  /** Other parts may play in the same lanes. */
  readonly lanes: Lanes;
}

export interface Outcome {
  readonly calls: number;
  readonly differences: readonly Difference[];
  /** Calls that could not be played, with the reason. */
  readonly failures: readonly string[];
}

const OBSERVER = 'observer';

type Call = readonly [Scenario, Way];

/** `onPlayed` hears of each call that was played or could not be, with the differences that it shows. */
export async function runPart(
  part: Part,
  onPlayed: (what: string, differences: readonly Difference[]) => void = () => undefined,
): Promise<Outcome> {
  const { version, ways, loop = 'asyncio', file = OBSERVER } = part;
  const warm = ways.some((way) => way.endsWith('warm')) ? 1 : 0;
  const forked = ways.some((way) => way.endsWith('forked'));
  const stage = await Stage.open({ version, loop, warm, forked, file });
  try {
    const played: Played[] = [];
    const failures: string[] = [];
    const differences: Difference[] = [];
    const calls = callsOf(part);
    const play = async (call: Call) => {
      const begin = Date.now();
      const found = await playCall(stage, ...call).then(
        (one) => {
          played.push(one);
          return differencesWith(one, played, version);
        },
        (error: Error) => {
          failures.push(error.message);
          return [];
        },
      );
      differences.push(...found);
      const seconds = Math.round((Date.now() - begin) / 1000);
      onPlayed(`${call[0].name} by ${call[1]} in ${seconds} s`, found);
    };
    const playInLane = (call: Call) => part.lanes.play(() => play(call));
    const isAlone = ([{ alone }]: Call) => alone === true;
    await Promise.all(calls.filter((call) => !isAlone(call)).map(playInLane));
    for (const call of calls.filter(isAlone)) await playInLane(call);
    return { calls: calls.length, failures, differences };
  } finally {
    await stage.close();
  }
}

export function callsOf({ version, ways, scenarios, file = OBSERVER }: Part): Call[] {
  const wanted = [...SCENARIOS, ...PRODUCTION].filter(
    (one) =>
      (one.file ?? OBSERVER) === file &&
      version.startsWith(one.only ?? version) &&
      (scenarios?.includes(one.name) ?? true),
  );
  return wanted.flatMap((scenario) =>
    (['livekit', ...ways] as const)
      .filter((way) => scenario.ways?.includes(way) ?? true)
      .map((way): Call => [scenario, way]),
  );
}

/** Between this call and those of the same scenario that were played before it. */
function differencesWith(last: Played, played: readonly Played[], version: string): Difference[] {
  const same = played.filter(({ scenario }) => scenario === last.scenario);
  const own = same.find(({ way }) => way === 'livekit');
  if (own === undefined) return [];
  const others = last === own ? same.filter((one) => one !== own) : [last];
  return others.flatMap((one) => compare(factsOf(own), factsOf(one), { version, way: one.way }));
}

/** The differences that no row of the table allows, as lines. */
export function refused(differences: readonly Difference[], allowed: readonly Allowed[]): string[] {
  return differences
    .filter((one) => !allowed.some((row) => isAllowedBy(row, one)))
    .map(
      ({ key, way, version, livekit, curfew }) =>
        `${version} ${way} ${key}: LiveKit ${livekit}; curfew ${curfew}`,
    );
}
