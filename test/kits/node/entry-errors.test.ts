/** The reports of a JavaScript job to curfew: the text of an error of its entry function, and the end of the job. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

const MAIN = `
import childProcess from 'node:child_process';
import { reportJobEnds } from '${pathToFileURL(`${ROOT}/kits/node/launch/report-end.mjs`)}';
reportJobEnds();
const job = childProcess.fork(process.argv[1], [], { execArgv: [] });
job.send({ case: 'startJobRequest', value: { runningJob: { job: { id: 'AJ_1' } } } });
`;
const SAID = {
  error: "{ case: 'curfewEntryError', value: 'broken' }",
  shutdown: "{ case: 'exiting', value: { reason: 'done here' } }",
  crash: "{ case: 'exiting', value: { reason: 'job crashed' } }",
  done: "{ case: 'done' }",
};

/** The reports of a job whose process says this and then ends by SIGKILL. */
async function heardOf(...said: (keyof typeof SAID)[]): Promise<{ status: string; error: string }[]> {
  const heard: { status: string; error: string }[] = [];
  const curfew = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    heard.push(JSON.parse(Buffer.concat(chunks).toString()));
    response.writeHead(204).end();
  }).listen(0, '127.0.0.1');
  await once(curfew, 'listening');
  const dir = mkdtempSync(join(tmpdir(), 'curfew-job-end-'));
  const job = join(dir, 'job.mjs');
  const code = `${said.map((one) => `process.send(${SAID[one]});`).join('')} setTimeout(() => process.kill(process.pid, 'SIGKILL'), 100);`;
  writeFileSync(job, code);
  const main = spawn(process.execPath, ['--input-type=module', '-e', MAIN, job], {
    env: {
      PATH: process.env.PATH ?? '',
      CURFEW_LIVEKIT_URL: `ws://127.0.0.1:${(curfew.address() as AddressInfo).port}`,
      CURFEW_LIVEKIT_API_KEY: 'key',
      CURFEW_LIVEKIT_API_SECRET: 'secret',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await once(main, 'exit');
  curfew.close();
  rmSync(dir, { recursive: true });
  return heard;
}

it.each([
  ['that is done has succeeded, however its process ends', ['shutdown', 'done'], ['JS_SUCCESS', '']],
  [
    'that raised has failed, also when it is done',
    ['error', 'crash', 'done'],
    ['JS_FAILED', 'job crashed: broken'],
  ],
  ['that raises after its shutdown has not raised', ['shutdown', 'error', 'done'], ['JS_SUCCESS', '']],
  ['whose process dies has failed', ['shutdown'], ['JS_FAILED', 'job process ended: SIGKILL']],
] as const)('a job %s', async (_what, said, [status, error]) => {
  const heard = await heardOf(...said);
  expect(heard.at(-1)).toMatchObject({ status, error });
  expect(heard).toHaveLength(status === 'JS_FAILED' && error.endsWith('broken') ? 2 : 1);
});
