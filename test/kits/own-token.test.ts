/** The token with which a launcher registers an agent: a long stop of the agent or of curfew does not outlast it. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';

const env = {
  PATH: process.env.PATH ?? '',
  CURFEW_LIVEKIT_API_KEY: 'key',
  CURFEW_LIVEKIT_API_SECRET: 'secret',
};
const OWN_KEYS = pathToFileURL(join(ROOT, 'kits/node/launch/own-keys.mjs')).href;
const NODE = `const { ownToken } = await import('${OWN_KEYS}'); console.log(ownToken({ agent: true }))`;
const PYTHON = `import sys; sys.path.insert(0, '${join(ROOT, 'kits/python/launch')}'); from curfew_launch import own; print(own.own_token())`;

/** SIGSTOP can hit between the signature and the request. */
const STOP_SECONDS = 1800;

it.each([
  ['Node', process.execPath, ['--input-type=module', '-e', NODE]],
  ['Python', 'python3', ['-c', PYTHON]],
])("the launcher's own token in %s is valid for half an hour before and after its making", (_language, program, args) => {
  const { stdout, stderr } = spawnSync(program, args, { env, encoding: 'utf8' });
  const claims: unknown = JSON.parse(Buffer.from(stdout.split('.')[1] ?? '', 'base64url').toString() || '{}');
  const { nbf, exp } = claims as { nbf: number; exp: number };
  const now = Date.now() / 1000;
  expect(nbf, stderr).toBeLessThan(now - STOP_SECONDS);
  expect(exp).toBeGreaterThan(now + STOP_SECONDS);
});
