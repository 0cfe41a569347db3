/** `curfew dev` and the example caller, as `npm start` and `npm run call` run them. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findLiveKitBinary } from '../../scripts/livekit-binary.mjs';
import { MAIN, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { pidsCalled } from '../support/processes/test-processes.ts';

const CALL = join(ROOT, 'examples', 'call', 'call.mjs');

interface Ran {
  readonly code: number | null;
  readonly printed: string;
}

describe.runIf(HAS_LIVEKIT)('dev mode', () => {
  let dir: string;
  const started: ChildProcess[] = [];

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'curfew-dev-'));
  });

  afterEach(async () => {
    for (const child of started.splice(0)) child.kill('SIGTERM');
    await until(
      'no LiveKit and no worker is left',
      () => livekits().length === 0 && workers().length === 0,
      30_000,
    );
    rmSync(dir, { recursive: true, force: true });
  });

  function run(...args: string[]) {
    const { CI: _ci, LIVEKIT_URL: _url, ...env } = process.env;
    const child = spawn(process.execPath, args, {
      cwd: dir,
      env: { ...env, LIVEKIT_SERVER: findLiveKitBinary() ?? '' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    started.push(child);
    let printed = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        printed += chunk.toString();
      });
    const ended = new Promise<Ran>((resolve) => child.once('close', (code) => resolve({ code, printed })));
    return { child, ended, printed: () => printed };
  }

  async function startDev() {
    const dev = run(MAIN, 'dev');
    await until(
      'dev mode is running',
      () => dev.printed().includes('npm run call') || dev.child.exitCode !== null,
      30_000,
    );
    expect(dev.child.exitCode, dev.printed()).toBeNull();
    return dev;
  }

  const livekits = () => pidsCalled(join(dir, '.curfew', 'livekit.yaml'));
  const workers = () => {
    const idPath = join(dir, '.curfew', 'state', 'instance.id');
    return existsSync(idPath) ? marked(readFileSync(idPath, 'utf8').trim()) : [];
  };

  it('dev mode answers a call from dispatch to hang-up, and Ctrl-C leaves nothing behind', async () => {
    const dev = await startDev();
    const { code, printed } = await run(CALL, '--seconds', '1').ended;
    expect(code, printed).toBe(0);
    for (const line of ['dispatched', 'the agent is in the room', 'heard the tone come back', 'hung up'])
      expect(printed).toContain(line);
    expect(printed).toMatch(/released: callers_left \(participant_left/);

    const session = run(MAIN, 'dispatch', '--room', 'kept', '--wait', 'live');
    expect((await session.ended).code, session.printed()).toBe(0);
    dev.child.kill('SIGINT');
    expect((await dev.ended).code, dev.printed()).toBe(0);
    expect(livekits()).toEqual([]);
    expect(workers()).toEqual([]);
    expect(existsSync(join(dir, '.curfew', 'dev.json'))).toBe(false);
  });

  it('a second dev mode in the same folder says so and disturbs nothing', async () => {
    await startDev();
    const second = await run(MAIN, 'dev').ended;
    expect(second.code).toBe(4);
    expect(second.printed.replaceAll(/\s+/g, ' ')).toContain('another process already listens on this path');
    expect(existsSync(join(dir, '.curfew', 'dev.json'))).toBe(true);
    expect(livekits()).toHaveLength(1);
  });

  it('the LiveKit server of dev mode ends when dev mode is killed', async () => {
    const dev = await startDev();
    dev.child.kill('SIGKILL');
    await until('LiveKit is gone', () => livekits().length === 0);
  });

  it.each([
    ['no supervisor', [], 'run npm start first'],
    ['a wrong option', ['--rooms', 'x'], '--room, --agent'],
    ['a wrong number', ['--seconds', 'two'], 'is not a number above 0'],
  ])('the example caller with %s says what to do', async (_what, args, advice) => {
    const { code, printed } = await run(CALL, ...args).ended;
    expect(code).toBe(1);
    expect(printed).toContain(advice);
  });
});
