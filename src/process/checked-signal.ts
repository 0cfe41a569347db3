/** The only place that signals. Each process is checked right before: still the same one, and still ours. */

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
  /** The worker's cgroup, where it has one. */
  readonly cgroup: string | null;
  readonly self: Self;
}

/** `denied`: the kernel refused, as for a process that took another user's id. */
export type Shot = 'sent' | 'gone' | 'denied';
type Deadly = 'SIGTERM' | 'SIGKILL';

export function signalMember(proc: ProcTable, aim: Aim, member: Member, signal: Deadly): Shot {
  const now = findAlive(proc, member);
  // A person's own pattern may name a process of the group that this command was typed in.
  const allowed = member.evidence === 'pattern' ? now?.pid !== aim.self.pid : now && isTarget(now, aim.self);
  if (!now || !allowed || !isOurs(proc, aim, member, now)) return 'gone';
  const shot = send(now.pid, signal);
  // A stopped process would hear a SIGTERM only when somebody continues it.
  return shot === 'sent' && signal === 'SIGTERM' && now.state === 'T' ? send(now.pid, 'SIGCONT') : shot;
}

/** Kills the shim's whole group in one step, which no fork escapes; `member` proves that the number is still the group's. */
export function killGroup(proc: ProcTable, aim: Aim, member: Member): Shot {
  const now = findAlive(proc, member);
  const proven = now !== null && now.pgid === aim.shim.pid && isTarget(now, aim.self);
  return proven ? send(-aim.shim.pid, 'SIGKILL') : 'gone';
}

/** The shim is ours by its recorded identity: we started it. */
export function signalShim(proc: ProcTable, aim: Aim, signal: 'SIGKILL' | 'SIGCONT'): Shot {
  const now = findAlive(proc, aim.shim);
  return now && isTarget(now, aim.self) ? send(now.pid, signal) : 'gone';
}

/** A child of this very turn, not reaped yet, leads a group of its own: nobody else can have its number. */
export function killNewborn(pid: number): Shot {
  return send(-pid, 'SIGKILL');
}

function isTarget(now: ProcessStat, self: Self): boolean {
  return now.pid > 1 && now.pid !== self.pid && now.pgid !== self.pgid;
}

/** Descent is told by identity alone: the parent that proved it may be dead by now, the child is still the same one. */
function isOurs(proc: ProcTable, aim: Aim, member: Member, now: ProcessStat): boolean {
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
    case 'pattern':
      return true;
  }
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
