/**
 * Starts a worker by a fork of its agent's zygote. The zygote forks a waiter, which does what the shim does, and the waiter forks
 * the worker. The file `order` is the right to do so. The waiter removes it before it takes the claim. The supervisor removes it
 * before it starts the worker cold. Only one of them can. The other side is kits/python/launch/curfew_launch/forked.py.
 */
import { existsSync } from 'node:fs';
import { unlink, writeFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import type { ForkOrder } from '../../../core/model/control-protocol.ts';
import { adoptedShim, claimedBy } from './adopt-shim.ts';
import { forkOrCold } from './fork-race.ts';
import type { Shim, StartPlan } from './spawn-shim.ts';

const FILE = { mode: 0o600, flag: 'wx' } as const;
const WAIT_MS = 2;

/** `null`: the zygote did not fork the worker, and nothing has started it. `failed` is called with the reason. */
export async function forkShim(
  plan: StartPlan,
  host: {
    readonly bootId: string;
    readonly shimCgroup: string | null;
    readonly send: (order: ForkOrder) => boolean;
    readonly failed: (why: string) => void;
    readonly startCold: () => Promise<Shim>;
  },
): Promise<Shim | null> {
  const { folder, cwd, env, umask, maxFileBytes, cgroup } = plan;
  const { bootId, shimCgroup, send, failed, startCold } = host;
  let cold: Shim | null = null;
  const order = { type: 'fork' as const, folder: folder.path, cwd, umask, maxFileBytes, cgroup };
  const identity = await forkOrCold({
    nowMs: () => performance.now(),
    wait: () => setTimeout(WAIT_MS),
    putOrder: () => writeFile(folder.order, '', FILE),
    takesBack: () => takesBack(folder.order),
    send: () => send({ ...order, env: { ...env }, bootId, shimCgroup }),
    claim: async () => (existsSync(folder.claim) ? claimedBy(folder, bootId) : null),
    failed,
    startCold: async () => {
      cold = await startCold();
    },
  });
  const begun = cold as Shim | null;
  return identity === null || identity.pid === begun?.identity.pid
    ? begun
    : adoptedShim(identity, { folder, cgroup });
}

/** false: the waiter was faster. */
async function takesBack(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
