/**
 * Workers with the mark of another instance, and whether that instance's supervisor is gone.
 * A worker's environment names its state directory. The lock there proves a living supervisor.
 * A supervisor keeps its lock when its directory is removed. So for a missing directory every process's open files count.
 */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import type { InstanceId, WorkerId } from '../../core/ids.ts';
import { instanceId as instanceIdOf, isWorkerName, workerId as workerIdOf } from '../../core/ids.ts';
import type { InstanceFate } from '../../core/workers/cleanup-verdict.ts';
import { messageOf } from '../../lib/errors.ts';
import { linkOf } from '../../lib/safe-files.ts';
import type { ProcTable } from '../../process/proc-files.ts';
import { isDead } from '../../process/proc-files.ts';
import type { ScannedProcess, Snapshot } from '../../process/process-scan.ts';

/** The cleanup's view of other state directories. */
export interface StateDirs {
  readonly lockFile: string;
  /** `null`: the directory has no id. */
  readInstanceId(stateDir: string): InstanceId | null;
  isSupervised(stateDir: string): boolean;
}

export interface ForeignWorker {
  readonly instanceId: InstanceId;
  readonly workerId: WorkerId;
  /** With this worker's mark, or without a mark and descended from such a process. */
  readonly processes: readonly { readonly one: ScannedProcess; readonly isMarked: boolean }[];
}

export const ANY_MARK = 'CURFEW_WORKER=';
const SOCKET = 'CURFEW_SOCKET=';
const INSTANCE_ID = /^[0-9a-f]{20}$/;

/** Reads the mark of each process without a mark of this instance. */
export function foreignWorkers(snapshot: Snapshot, proc: ProcTable): ForeignWorker[] {
  const marks = new Map<number, string>();
  for (const one of snapshot.byPid.values()) {
    const mark = one.mark === null && !isDead(one) ? proc.mark(one.pid, ANY_MARK) : null;
    if (mark !== null) marks.set(one.pid, mark);
  }
  const byMark = Map.groupBy(marks, ([, mark]) => mark);
  return [...byMark].flatMap(([mark, found]) => {
    const slash = mark.indexOf('/');
    const [id, worker] = [mark.slice(0, slash), mark.slice(slash + 1)];
    // Any process can choose its mark, so both names are checked.
    if (!INSTANCE_ID.test(id) || !isWorkerName(worker)) return [];
    const pids = found.map(([pid]) => pid);
    const processes = withDescendants(pids, marks, snapshot);
    return [{ instanceId: instanceIdOf(id), workerId: workerIdOf(worker), processes }];
  });
}

function withDescendants(
  pids: readonly number[],
  marks: ReadonlyMap<number, string>,
  snapshot: Snapshot,
): ForeignWorker['processes'] {
  const members = new Map(pids.map((pid) => [pid, true]));
  // The iteration of a Map includes entries that are added meanwhile.
  for (const [pid] of members)
    for (const child of snapshot.byParent.get(pid) ?? [])
      if (!isDead(child) && !marks.has(child.pid) && child.mark === null) members.set(child.pid, false);
  return [...members].flatMap(([pid, isMarked]) => {
    const one = snapshot.byPid.get(pid);
    return one === undefined ? [] : [{ one, isMarked: isMarked && marks.has(pid) }];
  });
}

/** `pid`: a living process with the instance's mark. */
export function fateOf(
  { instanceId, pid }: { instanceId: InstanceId; pid: number },
  { proc, stateDirs }: { proc: ProcTable; stateDirs: StateDirs },
): InstanceFate {
  const socket = proc.mark(pid, SOCKET);
  if (socket === null || !isAbsolute(socket))
    return { kind: 'unknown', stateDir: null, why: 'its environment names no state directory' };
  const stateDir = dirname(socket);
  try {
    return lookInto(stateDir, { instanceId, pid, stateDirs });
  } catch (error) {
    return { kind: 'unknown', stateDir, why: messageOf(error) };
  }
}

/** Throws if the directory cannot be read: an unknown state is not proof that the supervisor is gone. */
function lookInto(
  stateDir: string,
  { instanceId, pid, stateDirs }: { instanceId: InstanceId; pid: number; stateDirs: StateDirs },
): InstanceFate {
  const sharesMounts = readlinkSync(`/proc/${pid}/ns/mnt`) === readlinkSync('/proc/self/ns/mnt');
  // A worker in a container or a sandbox names the path as its own mounts show it.
  const path = sharesMounts ? stateDir : join(`/proc/${pid}/root`, stateDir);
  if (exists(join(path, 'instance.id')) && stateDirs.readInstanceId(path) === instanceId)
    return stateDirs.isSupervised(path) ? { kind: 'supervised' } : { kind: 'gone', stateDir };
  if (!sharesMounts)
    return { kind: 'unknown', stateDir, why: 'its state directory is in another mount namespace' };
  return holdsLock(join(stateDir, stateDirs.lockFile)) ? { kind: 'supervised' } : { kind: 'gone', stateDir };
}

function exists(path: string): boolean {
  try {
    statSync(path);
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}

/** True if a process of this user has the lock file open, removed or not. */
function holdsLock(lock: string): boolean {
  const names = [lock, `${lock} (deleted)`];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .some((name) => openFiles(`/proc/${name}/fd`).some((file) => names.includes(file)));
}

/** Empty: the process ended, or belongs to another user. A worker's supervisor has the worker's user. */
function openFiles(folder: string): string[] {
  try {
    return readdirSync(folder).flatMap((fd) => linkOf(join(folder, fd)) ?? []);
  } catch {
    return [];
  }
}
