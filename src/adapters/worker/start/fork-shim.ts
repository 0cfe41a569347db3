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
import type { ProcessIdentity } from '../../../core/model/worker.ts';
import { CurfewError } from '../../../lib/errors.ts';
import { ZYGOTE } from '../../../lib/limits/worker-limits.ts';
import { adoptedShim, claimedBy } from './adopt-shim.ts';
import type { Shim, StartPlan } from './spawn-shim.ts';

const FILE = { mode: 0o600, flag: 'wx' } as const;
const WAIT_MS = 2;

/**
 * `null`: the zygote did not fork the worker and never will, so it starts cold. `failed` is called with the reason.
 * Rejects spawn_failed when the zygote took the order, and no worker came of it.
 */
export async function forkShim(
  plan: StartPlan,
  host: {
    readonly bootId: string;
    readonly shimCgroup: string | null;
    readonly send: (order: ForkOrder) => boolean;
    readonly failed: (why: string) => void;
  },
): Promise<Shim | null> {
  const { folder, cwd, env, umask, maxFileBytes, cgroup } = plan;
  const { bootId, shimCgroup, send, failed } = host;
  await writeFile(folder.order, '', FILE);
  const order = { type: 'fork' as const, folder: folder.path, cwd, umask, maxFileBytes, cgroup };
  if (!send({ ...order, env: { ...env }, bootId, shimCgroup })) {
    await unlink(folder.order);
    failed('it was not connected');
    return null;
  }
  const identity = await untilClaimed(plan, bootId, ZYGOTE.forkMs);
  if (identity !== null) return adoptedShim(identity, { folder, cgroup });
  if (await takesBack(folder.order)) {
    failed(`it did not fork a worker within ${ZYGOTE.forkMs} ms`);
    return null;
  }
  const late = await untilClaimed(plan, bootId, ZYGOTE.takenMs);
  if (late !== null) return adoptedShim(late, { folder, cgroup });
  failed('its child took an order and did not become a worker');
  throw new CurfewError('spawn_failed', `the worker in ${folder.path} was not forked: see its zygote's log`);
}

async function untilClaimed(
  { folder }: StartPlan,
  bootId: string,
  boundMs: number,
): Promise<ProcessIdentity | null> {
  const untilMs = performance.now() + boundMs;
  do {
    if (existsSync(folder.claim)) {
      const found = await claimedBy(folder, bootId);
      if (found !== null) return found;
    }
    await setTimeout(WAIT_MS);
  } while (performance.now() < untilMs);
  return null;
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
