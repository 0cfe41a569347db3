/**
 * A part of the conformance suite. The newest Python version is played in full by LiveKit's dispatch to a cold worker. Named
 * calls come in the other ways, to JavaScript, to the oldest versions, and to an agent of the usual shape.
 * `npm run conformance` plays the whole suite.
 */
import { describe, it } from 'vitest';
import {
  findFramework,
  JAVASCRIPT_VERSIONS,
  OLDEST,
  PYTHON_VERSIONS,
} from '../../scripts/framework-versions.mjs';
import { HAS_LIVEKIT } from '../support/livekit/livekit-server.ts';
import { readAllowed } from './differences.ts';
import { Lanes } from './lanes.ts';
import type { Part } from './run-suite.ts';
import { refused, runPart } from './run-suite.ts';

/** The calls wait most of the time, so two cores serve more calls at once than two. */
const LANES = new Lanes(6);
const PYTHON = `py-${PYTHON_VERSIONS.at(-1)}`;
const JAVASCRIPT = `js-${JAVASCRIPT_VERSIONS.at(-1)}`;
const [OLDEST_PYTHON = '', OLDEST_JAVASCRIPT = ''] = OLDEST;
const HANG_UP = { scenarios: ['hang_up'] };
const OTHER_WAYS = ['http-cold', 'http-warm', 'dispatch-warm'] as const;

const part = (version: string, ways: Part['ways'], more: Partial<Part> = {}): Part => ({
  version,
  ways,
  lanes: LANES,
  ...more,
});

/** The longest calls begin first. A Python worker costs more processor time than a JavaScript worker. */
const PARTS: readonly [string, Part][] = [
  [
    'a Python agent of the usual shape',
    part(PYTHON, ['http-cold'], { file: 'production', scenarios: ['production_deletes_room'] }),
  ],
  [
    'a JavaScript agent of the usual shape',
    part(JAVASCRIPT, ['http-warm'], { file: 'production', scenarios: ['production_crash'] }),
  ],
  ['the newest Python version', part(PYTHON, ['dispatch-cold'])],
  ['the newest JavaScript version in the other ways', part(JAVASCRIPT, OTHER_WAYS, HANG_UP)],
  ['the oldest Python version', part(OLDEST_PYTHON, ['dispatch-cold'], HANG_UP)],
  ['the oldest JavaScript version', part(OLDEST_JAVASCRIPT, ['dispatch-cold'], HANG_UP)],
];

const isInstalled = ({ version }: Part) => findFramework(version) !== null;

async function unexpected(one: Part): Promise<string[]> {
  const { differences, failures } = await runPart(one);
  return [...refused(differences, readAllowed()), ...failures];
}

describe.runIf(HAS_LIVEKIT)(
  "an agent under curfew and under LiveKit's own runner",
  { concurrent: true },
  () => {
    for (const [name, one] of PARTS)
      it.runIf(isInstalled(one))(`${name} differs only as the docs say`, async ({ expect }) => {
        expect(await unexpected(one)).toEqual([]);
      });
  },
);
