/** The text of an error of a JavaScript entry function, as curfew gets it. */
import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { ROOT } from '../../support/daemon/daemon.ts';

const PROGRAM = `
import { reportEntryErrors } from '${pathToFileURL(`${ROOT}/kits/node/launch/entry-errors.mjs`)}';
process.connected = true;
process.send = ({ value }) => console.log(JSON.stringify(value));
reportEntryErrors();
const entry = globalThis[Symbol.for('curfew.entry')];
await entry(async () => { throw 'no error object'; }).catch(() => undefined);
await entry(async () => { throw new TypeError('broken'); }).catch(() => undefined);
`;

it('an error has its place in the code, and a thrown text has none', () => {
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', PROGRAM], {
    encoding: 'utf8',
  });
  const [text, error] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as string);
  expect(text).toBe('the entrypoint raised no error object');
  expect(error).toMatch(/^the entrypoint raised TypeError: broken; at \S/);
});
