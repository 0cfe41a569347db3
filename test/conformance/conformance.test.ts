/**
 * A part of the conformance suite. The newest versions are played in full by LiveKit's dispatch to a cold worker. Named calls
 * come in the other ways, and to the oldest versions.
 * `npm run conformance` plays the whole suite.
 */
import { describe, expect, it } from 'vitest';
import {
  findFramework,
  JAVASCRIPT_VERSIONS,
  OLDEST,
  PYTHON_VERSIONS,
} from '../../scripts/framework-versions.mjs';
import { HAS_LIVEKIT } from '../support/livekit/livekit-server.ts';
import { readAllowed } from './differences.ts';
import type { Part } from './run-suite.ts';
import { refused, runPart } from './run-suite.ts';

const AT_ONCE = 4;
const PYTHON = `py-${PYTHON_VERSIONS.at(-1)}`;
const JAVASCRIPT = `js-${JAVASCRIPT_VERSIONS.at(-1)}`;
const [OLDEST_PYTHON = '', OLDEST_JAVASCRIPT = ''] = OLDEST;
const OTHER_WAYS = ['http-cold', 'http-warm', 'dispatch-warm'] as const;

const part = (version: string, ways: Part['ways'], scenarios?: Part['scenarios']): Part => ({
  version,
  ways,
  atOnce: AT_ONCE,
  ...(scenarios === undefined ? {} : { scenarios }),
});

const FULL = part(PYTHON, ['dispatch-cold']);
const NAMED: readonly [string, Part][] = [
  ['the newest Python version in the other ways', part(PYTHON, OTHER_WAYS, ['hang_up', 'accept'])],
  [
    'the newest JavaScript version',
    part(JAVASCRIPT, ['dispatch-cold'], ['hang_up', 'shutdown', 'raises_after_connect']),
  ],
  ['the oldest Python version', part(OLDEST_PYTHON, ['dispatch-cold'], ['hang_up'])],
  ['the oldest JavaScript version', part(OLDEST_JAVASCRIPT, ['dispatch-cold'], ['hang_up'])],
];

const isInstalled = ({ version }: Part) => findFramework(version) !== null;

async function unexpected(one: Part): Promise<string[]> {
  const { differences, failures } = await runPart(one);
  return [...refused(differences, readAllowed()), ...failures];
}

describe.runIf(HAS_LIVEKIT)("an agent under curfew and under LiveKit's own runner", () => {
  it.runIf(isInstalled(FULL))('the newest Python version differs only as the docs say', async () => {
    expect(await unexpected(FULL)).toEqual([]);
  });

  // They wait most of the time.
  describe.concurrent('with named calls', () => {
    for (const [name, one] of NAMED)
      it.runIf(isInstalled(one))(`${name} differs only as the docs say`, async ({ expect: expectHere }) => {
        expectHere(await unexpected(one)).toEqual([]);
      });
  });
});
