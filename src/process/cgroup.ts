/**
 * cgroup v2: one group per worker, where the supervisor may make them. Source: cgroups(7), systemd's delegation rules.
 *
 * - Workers sit in leaves `BASE/curfew-INSTANCE/w-WORKER`; the supervisor itself stays where it is.
 * - Controllers are switched on only where the supervisor is not in BASE itself: a group with processes of its own cannot hand
 *   them down, and a service that did could not be started again (EBUSY).
 * - `cgroup.kill` ends everything inside at once, forks included. The shim stays outside, or it could not tell the status.
 * - A path that comes from a file is believed only when it has that form, on a cgroup2 mount: there nobody can make links, so the
 *   text of a path says where it is. Nothing else is ever killed or removed.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, watch, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';

export interface Cgroups {
  /** Which of memory, cpu and pids bound a worker. */
  readonly controllers: readonly string[];
  readonly path: string;
  /** Makes the worker's group with its limits; null: it could not be made. */
  make(workerId: string, limits: CgroupLimits): string | null;
  /** Where the worker's group is, or would be. */
  pathOf(workerId: string): string;
  /** The worker's group, if it is there. */
  find(workerId: string): string | null;
  /** Removes the instance's own group if no worker is left in it. */
  close(): void;
  /** The groups that are there, by worker. */
  list(): { readonly workerId: string; readonly path: string }[];
}

export interface CgroupLimits {
  readonly memoryBytes: number | null;
  readonly cpuPercent: number | null;
  readonly pids: number;
}

const WANTED = ['memory', 'cpu', 'pids'];
const INSTANCE = 'curfew-';
const LEAF = 'w-';
/** The subgroup of systemd's DelegateSubgroup: beside it lies what is delegated. */
const SUPERVISOR_GROUP = 'supervisor';
const CPU_PERIOD_US = 100_000;

/** Null, with the reason: there is no cgroup v2, or nothing may be made there. Makes the instance's own group. */
export function openCgroups(instanceId: string): Cgroups | { readonly unavailable: string } {
  const base = findBase();
  if (base === null) return { unavailable: 'there is no cgroup v2 hierarchy here' };
  const path = join(base.path, INSTANCE + instanceId);
  try {
    mkdirSync(path, { recursive: true });
    // A group that cannot take processes is of no use: a read-only mount says so here.
    mkdirSync(join(path, 'try'), { recursive: true });
    rmdirSync(join(path, 'try'));
  } catch (error) {
    return { unavailable: `${path} cannot be made (${(error as NodeJS.ErrnoException).code ?? 'unknown'})` };
  }
  if (base.mayHandDown) enable(base.path);
  enable(path);
  return cgroupsAt(path);
}

/** The instance's group as a supervisor made it, also for somebody who is not in its part of the hierarchy. */
export function cgroupsAt(path: string): Cgroups {
  const controllers = words(join(path, 'cgroup.subtree_control')).filter((one) => WANTED.includes(one));
  const pathOf = (workerId: string) => join(path, LEAF + workerId);
  return {
    path,
    controllers,
    make: (workerId, limits) => makeLeaf(pathOf(workerId), controllers, limits),
    pathOf,
    find: (workerId) => {
      const leaf = pathOf(workerId);
      return existsSync(leaf) ? leaf : null;
    },
    close: () => void attempt(() => rmdirSync(path)),
    list: () =>
      subgroups(path)
        .filter((one) => basename(one).startsWith(LEAF))
        .map((one) => ({ workerId: basename(one).slice(LEAF.length), path: one })),
  };
}

/** What `openCgroups` would find, leaving nothing behind. */
export function probeCgroups(): { path: string; controllers: readonly string[] } | { unavailable: string } {
  const opened = openCgroups(`probe-${process.pid}`);
  if ('unavailable' in opened) return opened;
  removeCgroup(opened.path);
  return { path: dirname(opened.path), controllers: opened.controllers };
}

/** Whether this is the group of the instance, or of one of its workers, in whatever part of the hierarchy. */
export function isGroupOf(path: string, owner: { instanceId: string; workerId?: string }): boolean {
  const { instanceId, workerId } = owner;
  const end = workerId === undefined ? [] : [LEAF + workerId];
  return isOnMount(path) && path.endsWith(['', INSTANCE + instanceId, ...end].join('/'));
}

let mountPoints: readonly string[] | null = null;

function isOnMount(path: string): boolean {
  mountPoints ??= mounts().flatMap((fields) => fields[4] ?? []);
  return resolve(path) === path && mountPoints.some((one) => path.startsWith(one === '/' ? one : `${one}/`));
}

/** An instance's group or a worker's. */
function isOurs(path: string): boolean {
  const group = basename(path).startsWith(LEAF) ? dirname(path) : path;
  return isOnMount(path) && basename(group).startsWith(INSTANCE);
}

/** The lines of mountinfo for cgroup v2, as their fields. Source: proc(5). */
function mounts(): string[][] {
  return readLines('/proc/self/mountinfo')
    .map((line) => line.split(' '))
    .filter((fields) => fields[fields.indexOf('-') + 1] === 'cgroup2');
}

function findBase(): { path: string; mayHandDown: boolean } | null {
  const [mount] = mounts();
  const own = readLines('/proc/self/cgroup').find((line) => line.startsWith('0::'));
  const [root, mountPoint] = [mount?.[3], mount?.[4]];
  if (root === undefined || mountPoint === undefined || own === undefined) return null;
  const inside = relative(root, own.slice('0::'.length));
  if (inside.startsWith('..')) return null;
  const path = join(mountPoint, inside);
  if (basename(path) === SUPERVISOR_GROUP) return { path: dirname(path), mayHandDown: true };
  // The hierarchy's own root alone may have processes and hand down.
  return { path, mayHandDown: inside === '' };
}

function enable(path: string): void {
  for (const one of words(join(path, 'cgroup.controllers')).filter((name) => WANTED.includes(name)))
    attempt(() => writeFileSync(join(path, 'cgroup.subtree_control'), `+${one}`));
}

function makeLeaf(path: string, controllers: readonly string[], limits: CgroupLimits): string | null {
  if (!attempt(() => mkdirSync(path))) return existsSync(path) ? path : null;
  const { memoryBytes, cpuPercent, pids } = limits;
  const set = (file: string, value: string) => attempt(() => writeFileSync(join(path, file), value));
  if (controllers.includes('memory') && memoryBytes !== null) {
    set('memory.max', String(memoryBytes));
    set('memory.oom.group', '1');
  }
  if (controllers.includes('cpu') && cpuPercent !== null)
    set('cpu.max', `${Math.round((cpuPercent / 100) * CPU_PERIOD_US)} ${CPU_PERIOD_US}`);
  if (controllers.includes('pids')) set('pids.max', String(pids));
  return path;
}

/** Everything in the group, zombies left out; empty where the group is gone. Subgroups that a worker made are its own. */
export function cgroupPids(path: string): number[] {
  const own = readLines(join(path, 'cgroup.procs')).map(Number);
  return [...own, ...subgroups(path).flatMap((one) => cgroupPids(one))];
}

/** By the process's own word in /proc: the group itself or one below it. */
export function isInCgroup(pid: number, path: string): boolean {
  const line = readLines(`/proc/${pid}/cgroup`).find((one) => one.startsWith('0::')) ?? '';
  return `${line}/`.includes(`/${basename(dirname(path))}/${basename(path)}/`);
}

/** Ends everything inside; false: this kernel cannot, the group is gone, or it is none of curfew's. */
export function killCgroup(path: string): boolean {
  return isOurs(path) && attempt(() => writeFileSync(join(path, 'cgroup.kill'), '1'));
}

/** How often the kernel ended something inside for want of memory. */
export function oomKills(path: string): number {
  const line = readLines(join(path, 'memory.events')).find((one) => one.startsWith('oom_kill '));
  return Number(line?.split(' ')[1] ?? 0);
}

/** Calls back each time the group may have emptied or filled, until the returned function is called. */
export function watchCgroup(path: string, onChange: () => void): () => void {
  try {
    const watcher = watch(join(path, 'cgroup.events'), { persistent: false }, onChange);
    // Its removal ends the watch, and is no fault.
    watcher.on('error', () => watcher.close());
    return () => watcher.close();
  } catch {
    return () => undefined;
  }
}

/** Only an empty one can be removed, and none that is not curfew's. */
export function removeCgroup(path: string): boolean {
  return isOurs(path) && removeTree(path);
}

function removeTree(path: string): boolean {
  for (const one of subgroups(path)) removeTree(one);
  return attempt(() => rmdirSync(path));
}

function subgroups(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((one) => one.isDirectory())
      .map((one) => join(path, one.name));
  } catch {
    return [];
  }
}

function words(path: string): string[] {
  return readLines(path).flatMap((line) => line.split(' '));
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
  } catch {
    return [];
  }
}

function attempt(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
