/** A Workers adapter with its own state folder, and a record of all its reports. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createWorkers } from '../../../src/adapters/worker/host-workers.ts';
import type { WorkersOptions } from '../../../src/adapters/worker/workers-options.ts';
import { instanceId, workerId } from '../../../src/core/ids.ts';
import type { MemorySample } from '../../../src/core/memory-sample.ts';
import type { Profile } from '../../../src/core/model/profile.ts';
import type { ExitInfo } from '../../../src/core/model/worker.ts';
import type { Clock } from '../../../src/ports/clock.ts';
import type { SpawnRequest } from '../../../src/ports/workers.ts';
import type { Cgroups } from '../../../src/process/cgroup.ts';
import { openCgroups, removeCgroup } from '../../../src/process/cgroup.ts';
import { profile } from '../../core/support.ts';
import { until } from '../lib/wait.ts';
import { marked } from '../processes/marked-processes.ts';
import { killAll } from '../processes/test-processes.ts';

const FIXTURES = resolve(import.meta.dirname, '../../fixtures/workers');

const PROFILE = profile({ protocol: 'none', command: ['true'] });

const testClock: Clock = {
  now: () => ({ bootMs: performance.now(), wallMs: Date.now() }),
  at: (bootMs, callback) => {
    const timer = setTimeout(callback, bootMs - performance.now());
    return () => clearTimeout(timer);
  },
};

/** The command that runs a fixture. */
export function fixture(name: string, ...args: string[]): [string, ...string[]] {
  const path = join(FIXTURES, name);
  if (name.endsWith('.py')) return ['python3', path, ...args];
  return name.endsWith('.mjs') ? [process.execPath, path, ...args] : [path, ...args];
}

interface StartOptions {
  readonly id?: string;
  readonly profile?: Partial<Profile>;
  readonly env?: Record<string, string>;
  readonly record?: object;
}

/** The cgroups of an instance of this name; `null`: the user cannot make cgroups, for want of delegation. */
function cgroupsOf(id: string): Cgroups | null {
  const opened = openCgroups(id);
  return 'unavailable' in opened ? null : opened;
}

/** Whether the tests can make cgroups on this machine. */
export function canGroup(): boolean {
  const opened = openCgroups(`probe-${process.pid}`);
  if ('unavailable' in opened) return false;
  removeCgroup(opened.path);
  return true;
}

export function openWorkers({
  grouped = false,
  memoryLimit = null,
  ...options
}: Partial<WorkersOptions> & { grouped?: boolean; memoryLimit?: number | null } = {}) {
  const stateDir = mkdtempSync(join(tmpdir(), 'curfew-workers-'));
  const id = instanceId(randomUUID());
  const workersDir = join(stateDir, 'workers');
  const instance = { id, stateDir, workersDir, bootId: 'boot', masterKey: Buffer.alloc(32), madeWallMs: 0 };
  const cgroups = grouped ? cgroupsOf(id) : null;
  const exits = new Map<string, ExitInfo[]>();
  const trees = new Map<string, number[]>();
  const samples: { id: string; memory: MemorySample; cpuPercent: number }[] = [];
  const warnings: string[] = [];
  const silent = () => {};
  const warn = (fields: object, message: string) =>
    void warnings.push(`${message} ${JSON.stringify(fields)}`);
  const workers = createWorkers({
    instance,
    clock: testClock,
    log: { debug: silent, info: silent, warn, error: warn },
    listener: {
      exited: (worker, exit) => void exits.set(worker, [...(exits.get(worker) ?? []), exit]),
      tree: (worker, left) => void trees.set(worker, [...(trees.get(worker) ?? []), left]),
      resources: (worker, memory, cpuPercent) => void samples.push({ id: worker, memory, cpuPercent }),
      memoryLimit: () => memoryLimit,
    },
    cgroups,
    ...options,
  });

  const start = async (command: Profile['command'], more: StartOptions = {}) => {
    const worker = workerId(more.id ?? `w-${randomUUID()}`);
    const profile = { ...PROFILE, ...more.profile, command };
    const request: SpawnRequest = {
      workerId: worker,
      profile,
      env: more.env ?? {},
      record: more.record ?? {},
    };
    return { id: worker, process: await workers.spawn(request) };
  };

  const logOf = (worker: string) => readFileSync(join(workersDir, worker, 'log'), 'utf8');
  return {
    instance,
    cgroups,
    workers,
    exits,
    trees,
    samples,
    warnings,
    start,
    logOf,
    /** Starts a fixture and waits until it prints `up`. */
    startUp: async (command: Profile['command'], more: StartOptions = {}) => {
      const started = await start(command, more);
      await until('the fixture is up', () => logOf(started.id).includes('up\n'));
      return started;
    },
    exitOf: (worker: string) =>
      until(`${worker} exited`, () => {
        const [exit] = exits.get(worker) ?? [];
        return exit;
      }),
    treeGone: (worker: string, boundMs = 15_000) =>
      until(`the tree of ${worker} is gone`, () => trees.get(worker)?.includes(0), boundMs),
    /** The pids of all living processes with a mark of this instance. */
    marked: () => marked(id).map((one) => one.pid),
    dispose: async () => {
      await workers.close();
      killAll(marked(id).map((one) => one.pid));
      if (cgroups !== null) await until('its cgroups are gone', () => removeCgroup(cgroups.path));
      rmSync(stateDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
