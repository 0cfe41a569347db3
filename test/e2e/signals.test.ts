/** SIGTERM and SIGHUP without systemd, as the config says. */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import { Daemon, MAIN } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { marked } from '../support/processes/marked-processes.ts';

let daemon: Daemon;
afterEach(() => daemon.close());

const start = async (onTerm: string, timeout = '60s') => {
  daemon = await new Daemon({
    config: {
      shutdown: { on_term: onTerm, timeout },
      agents: { default: { command: ['sleep', '1000'] } },
    },
  }).start();
};
const live = async (room: string) => {
  const { body } = await daemon.dispatch({ room });
  return daemon.reaches(body.id, ['live']);
};

describe('SIGTERM', () => {
  it('a supervisor with `on_term: leave` ends no call on SIGTERM, and the next one adopts it', async () => {
    await start('leave');
    const { id, pid } = await live('r');
    // A client that follows the log must not hold the supervisor up.
    const waiting = daemon.get(`/v1/sessions/${id}/logs?follow=1`).catch(() => null);
    expect(await daemon.stop()).toBe(0);
    await waiting;
    await daemon.start();
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid, restarts: 0 });
    await daemon.release(id);
    await daemon.ended(id);
    expect(marked(daemon.instanceId())).toEqual([]);
  });

  it('a supervisor with `on_term: drain` takes nothing new on SIGTERM and waits for its calls', async () => {
    await start('drain');
    const { id } = await live('r');
    daemon.signal('SIGTERM');
    // Race: a dispatch here could arrive before the signal, and would be one more call to wait for.
    await until('the supervisor takes nothing new', async () => (await daemon.get('/readyz')).status === 503);
    expect((await daemon.dispatch({ room: 'new' })).status).toBe(503);
    expect(await daemon.session(id)).toMatchObject({ state: 'live' });
    await daemon.release(id);
    expect(await daemon.exited()).toBe(0);
  });

  it('a supervisor with `on_term: drain` releases the calls that are left at its timeout', async () => {
    await start('drain', '1s');
    await live('r');
    expect(await daemon.stop()).toBe(0);
    expect(marked(daemon.instanceId())).toEqual([]);
  });
});

describe('SIGHUP', () => {
  it('SIGHUP applies new limits at once and new profiles to new sessions, and rejects a wrong config', async () => {
    await start('release');
    const before = await live('before');
    const limit = async () =>
      (await daemon.get<CapacityView>('/v1/capacity')).body.quotas.find((one) => one.name === 'host')?.limit;
    const config = { listen: { socket: daemon.socket, http: 'off' }, state_dir: `${daemon.dir}/state` };
    const write = (more: object) => writeFileSync(daemon.configPath, stringify({ ...config, ...more }));
    write({ limits: { sessions: 3 }, agents: { default: { command: ['sleep', '2000'] } } });
    daemon.signal('SIGHUP');
    await until('the new limit holds', async () => (await limit()) === 3);
    const { id, pid } = await live('after');
    expect(marked(daemon.instanceId()).find((one) => one.pid === pid)?.command).toContain('2000');
    write({ limits: { sessions: 'many' } });
    daemon.signal('SIGHUP');
    await until('the log names the wrong key', () => daemon.stderr.includes('limits.sessions'));
    expect(await limit()).toBe(3);
    expect(await daemon.reaches(before.id, ['live'])).toMatchObject({ pid: before.pid });
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid });
  });
});

/** Whether a process has a handler for a signal. Source: proc_pid_status(5), `SigCgt`. */
function handles(pid: number, signal: number): boolean {
  const [, mask = '0'] = /^SigCgt:\s*(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

describe('a signal while the supervisor starts', () => {
  const [HUP, USR1] = [1, 10];
  const signalAtStart = async (signal: NodeJS.Signals, when: number) => {
    daemon = new Daemon({ config: { agents: { default: { command: ['sleep', '1000'] } } } });
    const starting = daemon.start().catch(() => undefined);
    await until('it has a handler', () => handles(daemon.pid, when));
    daemon.signal(signal);
    await starting;
  };

  it('SIGHUP does not end it', async () => {
    await signalAtStart('SIGHUP', HUP);
    expect((await daemon.get('/healthz')).status).toBe(200);
  });

  it('SIGHUP ends another command that has the word `serve` among its arguments', async () => {
    await start('release');
    const { id } = await live('r');
    const args = [MAIN, '--socket', daemon.socket, '--token-file', 'serve', 'logs', id, '--follow'];
    const child = spawn(process.execPath, args, { stdio: 'ignore' });
    try {
      await until('it runs with a handler', () => handles(child.pid ?? 0, HUP));
      child.kill('SIGHUP');
      await until('it has ended', () => child.signalCode !== null || child.exitCode !== null);
      expect(child.signalCode).toBe('SIGHUP');
    } finally {
      child.kill('SIGKILL');
    }
  });

  it.each([
    ['after its own handler stands', HUP],
    ["while only Node's handler stands, which opens the debugger port", USR1],
  ])('SIGUSR1 is a drain, also %s', async (_moment, when) => {
    await signalAtStart('SIGUSR1', when);
    expect(await daemon.exited()).toBe(0);
    expect(daemon.stdout + daemon.stderr).toContain('drained');
  });
});
