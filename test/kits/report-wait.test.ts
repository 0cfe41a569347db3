/** A Python job process whose exception curfew cannot take yet: it waits for its report, and SIGTERM ends the wait. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';

/** The framework logs an exception of the entrypoint, and runs the shutdown callbacks. */
const LAZY_MAIN = `
import asyncio
def proc_main(args):
    try:
        asyncio.run(args.job_entrypoint_fnc(args))
    except Exception as error:
        print("raised", error, flush=True)
def thread_main(args): pass
`;
const JOB = `
import os, sys
from types import SimpleNamespace
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from livekit.agents.ipc import job_proc_lazy_main
async def entrypoint(ctx): raise RuntimeError("broken")
job_proc_lazy_main.proc_main(SimpleNamespace(job_entrypoint_fnc=entrypoint, job=SimpleNamespace(id="AJ_1")))
`;

let dir: string;
let curfew: Server;
let child: ChildProcess | undefined;
let reports: number;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-report-'));
  reports = 0;
  curfew = createServer((_request, response) => {
    reports += 1;
    response.writeHead(503).end();
  });
  await new Promise<void>((resolve) => curfew.listen(0, '127.0.0.1', resolve));
  mkdirSync(join(dir, 'livekit/agents/ipc'), { recursive: true });
  for (const folder of ['livekit', 'livekit/agents', 'livekit/agents/ipc'])
    writeFileSync(join(dir, folder, '__init__.py'), '');
  writeFileSync(join(dir, 'livekit/agents/ipc/job_proc_lazy_main.py'), LAZY_MAIN);
  writeFileSync(join(dir, 'job.py'), JOB);
});
afterEach(() => {
  child?.kill('SIGKILL');
  curfew.close();
  rmSync(dir, { recursive: true, force: true });
});

it('the wait of a job process for its report ends with SIGTERM', async () => {
  const started = spawn('python3', [join(dir, 'job.py')], {
    env: {
      PATH: process.env.PATH ?? '',
      PYTHONPATH: join(ROOT, 'kits/python/launch'),
      CURFEW_LIVEKIT_URL: `ws://127.0.0.1:${(curfew.address() as AddressInfo).port}`,
      CURFEW_LIVEKIT_API_KEY: 'key',
      CURFEW_LIVEKIT_API_SECRET: 'secret',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child = started;
  let out = '';
  started.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  await until('it has raised, and curfew has refused a second report', () => out !== '' && reports > 1);
  expect([out, started.exitCode]).toEqual(['raised broken\n', null]);
  started.kill('SIGTERM');
  // Without the signal it waits for 30 s.
  await until('it has ended', () => started.exitCode !== null || started.signalCode !== null, 10_000);
  expect([started.exitCode, started.signalCode]).toEqual([1, null]);
});
