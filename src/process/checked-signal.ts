/**
 * Signals to single processes and process groups of workers. Nothing else signals a process of a worker, except `cgroup.kill` in cgroup.ts.
 * A check comes first: the process is still the same one, and still belongs to its target.
 */

import type { WorkerId } from '../core/ids.ts';
import type { ProcessIdentity } from '../core/model/worker.ts';
import { failpoint } from '../lib/failpoints.ts';
import { isInCgroup } from './cgroup.ts';
import type { ProcessStat, ProcTable } from './proc-files.ts';
import { findAlive } from './proc-files.ts';
import type { Member, Self } from './process-tree.ts';

export interface Aim {
  readonly workerId: WorkerId;
  readonly shim: ProcessIdentity;
  readonly markPrefix: string;
  /** `null`: the worker has no cgroup. */
  readonly cgroup: string | null;
  readonly self: Self;
}

/** `denied`: the kernel refused, for example because the process changed its user id. */
export type Shot = 'sent' | 'gone' | 'denied';
type Deadly = 'SIGTERM' | 'SIGKILL';

export function signalMember(proc: ProcTable, aim: Aim, member: Member, signal: Deadly): Shot {
  const now = findAlive(proc, member);
  // A person's pattern may match a process in the same process group as this command.
  const allowed = member.evidence === 'pattern' ? now?.pid !== aim.self.pid : now && isTarget(now, aim.self);
  if (!now || !allowed || !isStillMember(proc, aim, member, now)) return 'gone';
  const shot = send(now.pid, signal);
  // A stopped process handles SIGTERM only after SIGCONT.
  return shot === 'sent' && signal === 'SIGTERM' && now.state === 'T' ? send(now.pid, 'SIGCONT') : shot;
}

/**
 * Kills the shim's whole process group in one step, so that no fork escapes.
 * `member` is alive in the group. It proves that the number still belongs to the group.
 */
export function killGroup(proc: ProcTable, aim: Aim, member: Member): Shot {
  const now = findAlive(proc, member);
  const proven = now !== null && now.pgid === aim.shim.pid && isTarget(now, aim.self);
  return proven ? send(-aim.shim.pid, 'SIGKILL') : 'gone';
}

/** Signals the shim. Its recorded identity is proof enough, because a supervisor of this instance started it. */
export function signalShim(proc: ProcTable, aim: Aim, signal: 'SIGKILL' | 'SIGCONT'): Shot {
  const now = findAlive(proc, aim.shim);
  return now && isTarget(now, aim.self) ? send(now.pid, signal) : 'gone';
}

/**
 * Kills the group of a child that was spawned in this turn of the event loop.
 * The child is not reaped yet, so its number cannot belong to another process.
 */
export function killNewChild(pid: number): Shot {
  return send(-pid, 'SIGKILL');
}

function isTarget(now: ProcessStat, self: Self): boolean {
  return now.pid > 1 && now.pid !== self.pid && now.pgid !== self.pgid;
}

/**
 * For descent the identity is enough: the parent that proved it may be dead by now, but the child is the same. A child of a
 * zygote may have become another worker meanwhile.
 */
function isStillMember(proc: ProcTable, aim: Aim, member: Member, now: ProcessStat): boolean {
  switch (member.evidence) {
    case 'cgroup':
      return aim.cgroup !== null && isInCgroup(now.pid, aim.cgroup);
    case 'group':
      return now.pgid === aim.shim.pid || now.sid === aim.shim.pid;
    case 'mark':
      return proc.mark(now.pid, aim.markPrefix) === aim.workerId;
    case 'shim':
      return now.pid === aim.shim.pid || proc.mark(now.pid, aim.markPrefix) === aim.workerId;
    case 'descent':
      return !isOthers(proc.mark(now.pid, aim.markPrefix), aim);
    case 'pattern':
      return true;
  }
}

function isOthers(mark: string | null, { workerId }: Aim): boolean {
  return mark !== null && mark !== workerId;
}

function send(pid: number, signal: Deadly | 'SIGCONT'): Shot {
  try {
    failpoint('signal.before');
    process.kill(pid, signal);
    failpoint('signal.after');
    return 'sent';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'gone';
    if ((error as NodeJS.ErrnoException).code === 'EPERM') return 'denied';
    throw error;
  }
}
