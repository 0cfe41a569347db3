/**
 * A part of the conformance suite: the courses of calls of the newest versions, by LiveKit's dispatch to a cold worker.
 * `npm run conformance` plays the whole suite.
 */
import { describe, expect, it } from 'vitest';
import { JAVASCRIPT_VERSIONS, PYTHON_VERSIONS } from '../../scripts/framework-versions.mjs';
import { HAS_LIVEKIT } from '../support/livekit/livekit-server.ts';
import { readAllowed } from './differences.ts';
import type { Part } from './run-suite.ts';
import { refused, runPart } from './run-suite.ts';

const AT_ONCE = 3;

const PARTS: readonly [string, Part][] = [
  [
    'the newest Python version',
    {
      version: `py-${PYTHON_VERSIONS.at(-1)}`,
      ways: ['dispatch-cold'],
      scenarios: [
        'hang_up',
        'release',
        'shutdown',
        'room_deleted',
        'raises_on_session_end',
        'agent_disconnects',
      ],
      atOnce: AT_ONCE,
    },
  ],
  [
    'the newest JavaScript version',
    {
      version: `js-${JAVASCRIPT_VERSIONS.at(-1)}`,
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
