/**
 * A part of the conformance suite. The newest Python version is played in full by LiveKit's dispatch to a cold worker.
 * Two of its calls come in the other ways, too. The newest JavaScript version plays one call.
 * `npm run conformance` plays the whole suite.
 */
import { describe, expect, it } from 'vitest';
import { JAVASCRIPT_VERSIONS, PYTHON_VERSIONS } from '../../scripts/framework-versions.mjs';
import { HAS_LIVEKIT } from '../support/livekit/livekit-server.ts';
import { readAllowed } from './differences.ts';
import type { Part } from './run-suite.ts';
import { refused, runPart } from './run-suite.ts';

const AT_ONCE = 4;
const PYTHON = `py-${PYTHON_VERSIONS.at(-1)}`;
const JAVASCRIPT = `js-${JAVASCRIPT_VERSIONS.at(-1)}`;

const PARTS: readonly [string, Part][] = [
  ['the newest Python version', { version: PYTHON, ways: ['dispatch-cold'], atOnce: AT_ONCE }],
  [
    'the newest Python version in the other ways',
    {
      version: PYTHON,
      ways: ['http-cold', 'http-warm', 'dispatch-warm'],
      scenarios: ['hang_up', 'accept'],
      atOnce: AT_ONCE,
    },
  ],
  [
    'the newest JavaScript version',
    {
      version: JAVASCRIPT,
      ways: ['dispatch-cold'],
      scenarios: ['agent_disconnects'],
      atOnce: AT_ONCE,
    },
  ],
];

describe.runIf(HAS_LIVEKIT)("an agent under curfew and under LiveKit's own runner", () => {
  it.each(PARTS)('%s differs only as the docs say', async (_name, part) => {
    const { differences, failures } = await runPart(part);
    expect([...refused(differences, readAllowed()), ...failures]).toEqual([]);
  });
});
