/**
 * `npm run conformance`: every version, every way. Prints what differs and what the table of differences does not need.
 * - `--latest`: the newest versions that the registries have.
 * - `--only py-1.8.9`, `--way http-cold`, `--scenario plain`, `--file production`: a part of it. Each may be given several times.
 * - `--whole-times`: the agent of the usual shape has a tool of 30 s and a summary of 20 s.
 */
import { parseArgs } from 'node:util';
import {
  ensureFramework,
  JAVASCRIPT_VERSIONS,
  newestFramework,
  PYTHON_VERSIONS,
} from '../../scripts/framework-versions.mjs';
import type { Difference } from './differences.ts';
import { isAllowedBy, readAllowed } from './differences.ts';
import { Lanes } from './lanes.ts';
import type { Part } from './run-suite.ts';
import { callsOf, refused, runPart } from './run-suite.ts';
import { WAYS } from './ways.ts';

type Curfew = Part['ways'][number];

const LANES = new Lanes(4);
const IN_UVLOOP = ['plain', 'hang_up'];
const ALL = [...PYTHON_VERSIONS.map((one) => `py-${one}`), ...JAVASCRIPT_VERSIONS.map((one) => `js-${one}`)];
/** Versions that have nothing to compare with. A run that names no version leaves them out. */
const INCOMPARABLE = new Map([
  [
    'js-1.1.0',
    "under LiveKit's own runner its main process dies with its first job, and so do the other calls",
  ],
]);
const IN_CI = !['', '0', 'false'].includes(process.env.CI ?? '');
const say = (text: string) => void process.stdout.write(`${text}\n`);

const { values } = parseArgs({
  options: {
    latest: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    way: { type: 'string', multiple: true },
    scenario: { type: 'string', multiple: true },
    file: { type: 'string', multiple: true },
    'whole-times': { type: 'boolean', default: false },
  },
});

if (values['whole-times']) {
  process.env.PRODUCTION_TOOL_SECONDS = '30';
  process.env.PRODUCTION_SUMMARY_SECONDS = '20';
}
const versions = values.latest
  ? await Promise.all([newestFramework('py'), newestFramework('js')])
  : (values.only ?? ALL.filter((one) => !INCOMPARABLE.has(one)));
const ways = WAYS.filter((way): way is Curfew => way !== 'livekit' && (values.way?.includes(way) ?? true));
const allowed = readAllowed();
const seen: Difference[] = [];
/** Versions that could not be installed. In CI that is an error, and so is a run without any version. */
const skipped: string[] = [];
let failed = 0;
if (!values.latest && values.only === undefined)
  for (const [version, why] of INCOMPARABLE)
    say(`left out: ${version}: ${why}; \`--only ${version}\` plays it`);
for (const version of versions) {
  const missing = await ensureFramework(version, say).then(
    () => null,
    (error: Error) => error.message,
  );
  if (missing !== null) skipped.push(`${version}: ${missing}`);
  else for (const part of partsOf(version)) failed += await report(part);
}
reportStale();
for (const what of skipped) say(`skipped: ${what}`);
const isLacking = skipped.length > 0 && (IN_CI || skipped.length === versions.length);
process.exit(failed === 0 && !isLacking ? 0 : 1);

/** The observer in both event loops of Python, and the agent of the usual shape. */
function partsOf(version: string): Part[] {
  const part: Part = { version, ways, lanes: LANES };
  const wanted = values.scenario === undefined ? {} : { scenarios: values.scenario };
  const scenarios = IN_UVLOOP.filter((name) => values.scenario?.includes(name) ?? true);
  const inUvloop = { ...part, loop: 'uvloop', scenarios } as const;
  return [
    { ...part, ...wanted },
    ...(version.startsWith('py-') ? [inUvloop] : []),
    { ...part, ...wanted, file: 'production' },
  ].filter((one) => callsOf(one).length > 0 && (values.file?.includes(one.file ?? 'observer') ?? true));
}

/** Returns the number of differences and failures that are not allowed. */
async function report(part: Part): Promise<number> {
  const { calls, differences, failures } = await runPart(part, (what, found) => {
    say(`  played ${part.version} ${what}`);
    for (const line of refused(found, allowed)) say(`  ${line}`);
  });
  seen.push(...differences);
  const lines = [...refused(differences, allowed), ...failures];
  say(
    `${part.version} ${part.file ?? part.loop ?? 'asyncio'}: ${calls} calls, ${differences.length} differences, ${lines.length} not allowed`,
  );
  for (const line of failures) say(`  ${line}`);
  return lines.length;
}

/** Only a whole run shows that a row is not needed. */
function reportStale(): void {
  if (values.only ?? values.way ?? values.scenario ?? values.file ?? (values.latest || undefined)) return;
  for (const row of allowed)
    if (!seen.some((one) => isAllowedBy(row, one))) {
      say(`the table of allowed differences does not need \`${row.pattern}\``);
      failed += 1;
    }
}
