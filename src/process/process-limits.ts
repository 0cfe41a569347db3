/** The limits on processes and threads, for an error after a failed fork. Sources: cgroups(7), proc(5), fork(2). */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ownCgroups, textOf } from './own-cgroups.ts';

interface Use {
  /** The limit's name, with the place where a person raises it. */
  readonly name: string;
  readonly used: number;
  readonly most: number;
}

/** A limit counts as the cause from this share on: the failed fork may have needed several tasks, and some may have ended since. */
const NEAR_SHARE = 0.9;
/** Fewer zombies than this do not explain a full limit. */
const MANY_ZOMBIES = 10;

/** Text for the evidence: which limit is full, how many tasks there are, and what to do. */
export function whyNoFork(): string {
  const near = [...cgroupUses(), ...userUse(), ...hostUse()].filter(
    ({ used, most }) => used >= most * NEAR_SHARE,
  );
  const texts = near.map(({ name, used, most }) => `${used} of ${most} by ${name}`);
  const limits =
    texts.length === 0
      ? 'no limit of processes that curfew can read is full now'
      : `processes and threads in use: ${texts.join(', ')}; raise the limit, or run fewer calls`;
  return `${limits}${zombieText()}`;
}

/** True: a fork that fails now fails for want of processes. */
export function isProcessLimitNear(): boolean {
  return [...cgroupUses(), ...userUse(), ...hostUse()].some(({ used, most }) => used >= most * NEAR_SHARE);
}

function zombieText(): string {
  const zombies = countTasks().zombies;
  return zombies < MANY_ZOMBIES
    ? ''
    : `; ${zombies} are zombies that nobody reaps: run curfew under an init, such as container/curfew-init.sh`;
}

/** `pids.max` of the supervisor's cgroup and of each cgroup above it, in both versions of cgroups. */
function cgroupUses(): Use[] {
  return ownCgroups('pids').flatMap((path) => {
    const most = Number(textOf(join(path, 'pids.max')));
    const used = Number(textOf(join(path, 'pids.current')));
    // "max" is no number: there is no limit.
    return most > 0 ? [{ name: join(path, 'pids.max'), used, most }] : [];
  });
}

/** RLIMIT_NPROC does not bind root. */
function userUse(): Use[] {
  const limit = /^Max processes\s+(\d+)/m.exec(textOf('/proc/self/limits'));
  if (limit === null || process.getuid?.() === 0) return [];
  return [{ name: 'ulimit -u of this user', used: countTasks().own, most: Number(limit[1]) }];
}

function hostUse(): Use[] {
  const { all } = countTasks();
  return ['pid_max', 'threads-max'].flatMap((name) => {
    const most = Number(textOf(`/proc/sys/kernel/${name}`));
    return most > 0 ? [{ name: `kernel.${name}`, used: all, most }] : [];
  });
}

function countTasks(): { all: number; own: number; zombies: number } {
  const uid = String(process.getuid?.() ?? '');
  const count = { all: 0, own: 0, zombies: 0 };
  for (const name of readdirSync('/proc').filter((one) => /^\d+$/.test(one))) {
    const status = textOf(`/proc/${name}/status`);
    const threads = Number(/^Threads:\s*(\d+)$/m.exec(status)?.[1] ?? 1);
    count.all += threads;
    if (/^Uid:\s*(\d+)/m.exec(status)?.[1] === uid) count.own += threads;
    if (/^State:\s*Z/m.test(status)) count.zombies += 1;
  }
  return count;
}
