/** The launchers note each call of LiveKit's API that makes a phone ring. */
import { fork, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';

const PY_AGENT = `
import asyncio, os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from livekit.api import twirp_client
from curfew_launch import job_report
for service, method in (one.split("/") for one in sys.argv[1:]):
    job_report.Job.dialled = False
    asyncio.run(twirp_client.TwirpClient().request(service, method, None, {}, None))
    print(method, job_report.Job.dialled)
`;
const TWIRP = `
class TwirpClient:
    async def request(self, service, method, data, headers, response_class):
        pass
`;
const NODE_AGENT = `
await fetch('http://127.0.0.1:9/twirp/livekit.' + process.argv[2], { method: 'POST' }).catch(() => {});
process.disconnect();
`;

const ENV = {
  PATH: process.env.PATH ?? '',
  CURFEW_LIVEKIT_URL: 'ws://127.0.0.1:9',
  CURFEW_LIVEKIT_API_KEY: 'key',
  CURFEW_LIVEKIT_API_SECRET: 'secret',
  NODE_OPTIONS: `--import=${pathToFileURL(join(ROOT, 'kits/node/launch.mjs')).href}`,
  PYTHONPATH: join(ROOT, 'kits/python/launch'),
};
const CALLS: readonly (readonly [string, boolean])[] = [
  ['SIP/CreateSIPParticipant', true],
  ['Connector/DialWhatsAppCall', true],
  ['Connector/ConnectTwilioCall', true],
  ['Connector/AcceptWhatsAppCall', false],
  ['RoomService/ListRooms', false],
];

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-dials-'));
  mkdirSync(join(dir, 'livekit/api'), { recursive: true });
  for (const folder of ['livekit', 'livekit/api']) writeFileSync(join(dir, folder, '__init__.py'), '');
  writeFileSync(join(dir, 'livekit/api/twirp_client.py'), TWIRP);
  writeFileSync(join(dir, 'agent.py'), PY_AGENT);
  writeFileSync(join(dir, 'agent.mjs'), NODE_AGENT);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function noteOfNode(call: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = fork(join(dir, 'agent.mjs'), [call], { env: ENV, execArgv: [] });
    let isNoted = false;
    child.on('message', (message) => {
      isNoted ||= JSON.stringify(message).includes('curfewDialled');
    });
    child.once('error', reject);
    child.once('exit', (code) => (code === 0 ? resolve(isNoted) : reject(new Error(`exit ${code}`))));
  });
}

describe('a call of the API that makes a phone ring', () => {
  it('is noted in Python', () => {
    const args = [join(dir, 'agent.py'), ...CALLS.map(([call]) => call)];
    const { stdout, stderr } = spawnSync('python3', args, { env: ENV, encoding: 'utf8', timeout: 60_000 });
    const noted = CALLS.map(([call, isDial]) => `${call.split('/')[1]} ${isDial ? 'True' : 'False'}`);
    expect(stdout.trim().split('\n'), stderr).toEqual(noted);
  });

  it('is noted in JavaScript', async () => {
    const noted = await Promise.all(CALLS.map(([call]) => noteOfNode(call)));
    expect(noted).toEqual(CALLS.map(([, isDial]) => isDial));
  });
});
