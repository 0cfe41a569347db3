/** Ends what a dead `curfew run` left: its workers and its state directory. The guard of the run starts it. */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createProcessTable } from '../adapters/cleanup/host-processes.ts';
import { isSupervised, readInstanceId } from '../adapters/registry/instance-dir.ts';
import { createClock } from '../adapters/telemetry/boot-clock.ts';
import { removeTree } from '../adapters/worker/temp/remove-tree.ts';
import { CurfewError } from '../lib/errors.ts';
import { RUN } from '../lib/limits/service-limits.ts';
import { removeCgroup } from '../process/cgroup.ts';
import { groupsOf } from './cleanup.ts';

/** Returns the exit code: 7 when a worker survived. Rejects `invalid_request` for the directory of anything but a run. */
export async function endRun(stateDir: string): Promise<number> {
  if (!basename(stateDir).startsWith(RUN.dirPrefix))
    throw new CurfewError('invalid_request', `"${stateDir}" is not the state directory of a \`curfew run\``);
  if (!existsSync(stateDir)) return 0;
  if (!(await isReleased(stateDir)))
    throw new CurfewError('already_running', `the run of "${stateDir}" still lives; end the run itself`);
  const isEmpty = await endWorkers(stateDir);
  if (isEmpty) await removeTree(stateDir);
  return isEmpty ? 0 : RUN.survivedExit;
}

/** Race: the kernel closes the run's pipe and its lock one after the other. */
async function isReleased(stateDir: string): Promise<boolean> {
  for (let left = RUN.lockTries; left > 0; left -= 1) {
    if (!isSupervised(stateDir)) return true;
    await setTimeout(RUN.againMs);
  }
  return false;
}

/** False: a process survived. Race: a worker can fork during a scan, so only two empty scans in a row count. */
async function endWorkers(stateDir: string): Promise<boolean> {
  const instanceId = readInstanceId(stateDir);
  if (instanceId === null) return true;
  const cgroups = groupsOf(instanceId, stateDir);
  const table = createProcessTable({ instanceId, clock: createClock(), cgroups, livekitUrl: null });
  let empty = 0;
  for (let left = RUN.endTries; left > 0 && empty < 2; left -= 1) {
    const scan = await table.scan();
    const trees = scan.workerIds.map((workerId) => ({ workerId, members: scan.treeOf(workerId, null) }));
    const living = trees.filter(({ members }) => members.length > 0);
    empty = living.length === 0 ? empty + 1 : 0;
    if (living.length > 0) await table.end(living);
    else await setTimeout(RUN.againMs);
  }
  for (const { path } of cgroups?.list() ?? []) removeCgroup(path);
  cgroups?.close();
  return empty >= 2;
}
