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

const AT_ONCE = 6;
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

const PARTS: readonly [string, Part][] = [
  ['the newest Python version', part(PYTHON, ['dispatch-cold'])],
  ['the newest Python version in the other ways', part(PYTHON, OTHER_WAYS, ['hang_up', 'accept'])],
  [
    'the newest JavaScript version',
    part(JAVASCRIPT, ['dispatch-cold'], ['hang_up', 'shutdown', 'release', 'raises_after_connect']),
  ],
  ['the oldest Python version', part(OLDEST_PYTHON, ['dispatch-cold'], ['hang_up'])],
  ['the oldest JavaScript version', part(OLDEST_JAVASCRIPT, ['dispatch-cold'], ['hang_up'])],
];

describe.runIf(HAS_LIVEKIT)("an agent under curfew and under LiveKit's own runner", () => {
  for (const [name, one] of PARTS)
    it.runIf(findFramework(one.version) !== null)(`${name} differs only as the docs say`, async () => {
      const { differences, failures } = await runPart(one);
      expect([...refused(differences, readAllowed()), ...failures]).toEqual([]);
    });
});
