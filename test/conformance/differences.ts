/** The differences between LiveKit's own runner and curfew, and the docs' table of allowed ones. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/daemon/daemon.ts';
import type { Facts } from './call-facts.ts';
import type { Way } from './ways.ts';

export interface Difference {
  readonly key: string;
  readonly version: string;
  readonly way: Way;
  readonly livekit: string;
  readonly curfew: string;
}

export interface Allowed {
  /** A key of a fact. `*` stands for any text. */
  readonly pattern: string;
  /** Ways, frameworks or versions, such as `http`, `cold`, `py` or `js-1.0`. Empty: all. */
  readonly where: readonly string[];
}

const PAGE = join(ROOT, 'docs/reference/livekit-agents.md');
const HEADING = '## The allowed differences';
const ABSENT = 'absent';

export function compare(livekit: Facts, curfew: Facts, at: { version: string; way: Way }): Difference[] {
  const keys = new Set([...livekit.keys(), ...curfew.keys()]);
  return [...keys].sort().flatMap((key) => {
    const [one, other] = [livekit.get(key) ?? ABSENT, curfew.get(key) ?? ABSENT];
    return one === other ? [] : [{ key, ...at, livekit: one, curfew: other }];
  });
}

/** The one table of allowed differences: `| key | where | why |`, with a code span for each key and place. */
export function readAllowed(page: string = readFileSync(PAGE, 'utf8')): Allowed[] {
  const section = page.slice(page.indexOf(HEADING) - 1).split('\n## ')[1] ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => {
      const [keys = '', where = ''] = line.split('|').slice(1);
      return codesIn(keys).map((pattern) => ({ pattern, where: codesIn(where) }));
    });
}

function codesIn(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);
}

export function isAllowedBy({ pattern, where }: Allowed, { key, way, version }: Difference): boolean {
  const escaped = pattern.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*');
  if (!new RegExp(`^${escaped}$`).test(key)) return false;
  return where.length === 0 || where.some((one) => way.split('-').includes(one) || version.startsWith(one));
}
