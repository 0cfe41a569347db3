/**
 * `npm run conformance`: every version, every way. Prints what differs and what the table of differences does not need.
 * - `--latest`: the newest versions that the registries have.
 * - `--only py-1.8.9`, `--way http-cold`, `--scenario plain`: a part of it. Each may be given several times.
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
import type { Part } from './run-suite.ts';
import { refused, runPart } from './run-suite.ts';
import { WAYS } from './ways.ts';

type Curfew = Part['ways'][number];

const AT_ONCE = 4;
const ALL = [...PYTHON_VERSIONS.map((one) => `py-${one}`), ...JAVASCRIPT_VERSIONS.map((one) => `js-${one}`)];
const say = (text: string) => void process.stdout.write(`${text}\n`);

const { values } = parseArgs({
  options: {
    latest: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    way: { type: 'string', multiple: true },
    scenario: { type: 'string', multiple: true },
  },
});

const versions = values.latest
  ? await Promise.all([newestFramework('py'), newestFramework('js')])
  : (values.only ?? ALL);
const ways = WAYS.filter((way): way is Curfew => way !== 'livekit' && (values.way?.includes(way) ?? true));
const allowed = readAllowed();
const seen: Difference[] = [];
let failed = 0;
for (const version of versions) {
  await ensureFramework(version, say);
  for (const loop of loopsOf(version)) {
    const scenarios = values.scenario ?? (loop === 'uvloop' ? ['plain', 'hang_up'] : undefined);
    failed += await report({
      version,
      ways,
      loop,
      atOnce: AT_ONCE,
      ...(scenarios === undefined ? {} : { scenarios }),
    });
  }
}
reportStale();
process.exit(failed === 0 ? 0 : 1);

function loopsOf(version: string): readonly ('asyncio' | 'uvloop')[] {
  return version.startsWith('py-') ? ['asyncio', 'uvloop'] : ['asyncio'];
}

/** Returns the number of differences and failures that are not allowed. */
async function report(part: Part): Promise<number> {
  const { calls, differences, failures } = await runPart(part, (what) =>
    say(`  played ${part.version} ${what}`),
  );
  seen.push(...differences);
  const lines = [...refused(differences, allowed), ...failures];
  say(
    `${part.version} ${part.loop}: ${calls} calls, ${differences.length} differences, ${lines.length} not allowed`,
  );
  for (const line of lines) say(`  ${line}`);
  return lines.length;
}

/** Only a whole run shows that a row is not needed. */
function reportStale(): void {
  if (values.only ?? values.way ?? values.scenario ?? (values.latest || undefined)) return;
  for (const row of allowed)
    if (!seen.some((one) => isAllowedBy(row, one))) {
      say(`the table of allowed differences does not need \`${row.pattern}\``);
      failed += 1;
    }
}
