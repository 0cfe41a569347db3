/**
 * cgroup v2: one cgroup per worker, where the supervisor may create them.
 * Source: cgroups(7), systemd's delegation rules.
 *
 * - Workers run in leaves `BASE/curfew-INSTANCE/w-WORKER`. The supervisor itself stays where it is.
 * - curfew enables controllers in BASE only where the supervisor is not in BASE itself.
 *   A cgroup that contains processes cannot pass controllers down.
 *   If a service forced it, systemd could not start the service again (EBUSY).
 * - `cgroup.kill` ends every process inside at once, also those that are being forked.
 *   The shim stays outside, because it must write the exit status afterwards.
 * - curfew trusts a path from a file only if it has that form and lies on a cgroup2 mount.
 *   No process can create links there, so the text of a path proves its place.
 *   curfew kills or removes no other cgroup.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, watch, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { once } from '../lib/once.ts';

export interface Cgroups {
  /** The available ones of memory, cpu and pids. The kernel enforces these limits. */
  readonly controllers: readonly string[];
  readonly path: string;
  /** Creates the worker's cgroup with its limits. `null`: the kernel refused. */
  make(workerId: string, limits: CgroupLimits): string | null;
  /** The path of the worker's cgroup, whether it exists or not. */
  pathOf(workerId: string): string;
  /** `null`: the worker's cgroup does not exist. */
  find(workerId: string): string | null;
  /** Removes the instance's own cgroup if no worker's cgroup is left in it. */
  close(): void;
  /** All existing cgroups of workers. */
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
/** The name that our unit gives to DelegateSubgroup. systemd delegates its parent to curfew. */
const SUPERVISOR_GROUP = 'supervisor';
const CPU_PERIOD_US = 100_000;

/** Creates the instance's own cgroup. `unavailable` says why cgroups cannot be used here. */
export function openCgroups(instanceId: string): Cgroups | { readonly unavailable: string } {
  const base = findBase();
  if (base === null) return { unavailable: 'there is no cgroup v2 hierarchy here' };
  const path = join(base.path, INSTANCE + instanceId);
  try {
    mkdirSync(path, { recursive: true });
    // A read-only mount lets the first mkdir pass if the directory exists. This one fails there.
    mkdirSync(join(path, 'try'), { recursive: true });
    rmdirSync(join(path, 'try'));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    return { unavailable: `${path} cannot be created (${code})` };
  }
  if (base.mayPassDown) enable(base.path);
  enable(path);
  return cgroupsAt(path);
}

/** Opens the instance's cgroup that a supervisor created. The caller may run in another part of the hierarchy. */
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

/** Tells what `openCgroups` would find, and leaves no cgroup behind. */
export function probeCgroups(): { path: string; controllers: readonly string[] } | { unavailable: string } {
  const opened = openCgroups(`probe-${process.pid}`);
  if ('unavailable' in opened) return opened;
  removeCgroup(opened.path);
  return { path: dirname(opened.path), controllers: opened.controllers };
}

/** True for the cgroup of this instance, or of this worker, in any part of the hierarchy. */
export function isGroupOf(path: string, owner: { instanceId: string; workerId?: string }): boolean {
  const { instanceId, workerId } = owner;
  const end = workerId === undefined ? [] : [LEAF + workerId];
  return isOnMount(path) && path.endsWith(['', INSTANCE + instanceId, ...end].join('/'));
}

/** Read once: a host with many containers has thousands of mounts. */
const mountPoints = once(() => mounts().flatMap((fields) => fields[4] ?? []));

function isOnMount(path: string): boolean {
  return (
    resolve(path) === path && mountPoints().some((one) => path.startsWith(one === '/' ? one : `${one}/`))
  );
}

/** True for the cgroup of any instance or worker of curfew. */
function isCurfewGroup(path: string): boolean {
  const group = basename(path).startsWith(LEAF) ? dirname(path) : path;
  return isOnMount(path) && basename(group).startsWith(INSTANCE);
}

/** The fields of each cgroup v2 line of mountinfo. Source: proc(5). */
function mounts(): string[][] {
  return readLines('/proc/self/mountinfo')
    .map((line) => line.split(' '))
    .filter((fields) => fields[fields.indexOf('-') + 1] === 'cgroup2');
}

/** The cgroup of this process, and its path below the mount. `null`: it is in no cgroup v2 hierarchy that can be seen here. */
function findOwn(): { path: string; inside: string } | null {
  const [mount] = mounts();
  const own = readLines('/proc/self/cgroup').find((line) => line.startsWith('0::'));
  const [root, mountPoint] = [mount?.[3], mount?.[4]];
  if (root === undefined || mountPoint === undefined || own === undefined) return null;
  const inside = relative(root, own.slice('0::'.length));
  return inside.startsWith('..') ? null : { path: join(mountPoint, inside), inside };
}

export function ownCgroup(): string | null {
  return findOwn()?.path ?? null;
}

function findBase(): { path: string; mayPassDown: boolean } | null {
  const own = findOwn();
  if (own === null) return null;
  const { path, inside } = own;
  if (basename(path) === SUPERVISOR_GROUP) return { path: dirname(path), mayPassDown: true };
  // Only the root of the hierarchy may contain processes and pass controllers down.
  return { path, mayPassDown: inside === '' };
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

/** All processes in the cgroup and in the subgroups that the worker created. Empty if the cgroup is gone. */
export function cgroupPids(path: string): number[] {
  const own = readLines(join(path, 'cgroup.procs')).map(Number);
  return [...own, ...subgroups(path).flatMap((one) => cgroupPids(one))];
}

/** True if /proc shows the process in this cgroup or in one below it. */
export function isInCgroup(pid: number, path: string): boolean {
  const line = readLines(`/proc/${pid}/cgroup`).find((one) => one.startsWith('0::')) ?? '';
  return `${line}/`.includes(`/${basename(dirname(path))}/${basename(path)}/`);
}

/** Kills every process inside. False: the kernel has no cgroup.kill, the cgroup is gone, or it is not curfew's. */
export function killCgroup(path: string): boolean {
  return isCurfewGroup(path) && attempt(() => writeFileSync(join(path, 'cgroup.kill'), '1'));
}

/** How many processes inside the kernel killed because memory ran out. */
export function oomKills(path: string): number {
  const line = readLines(join(path, 'memory.events')).find((one) => one.startsWith('oom_kill '));
  return Number(line?.split(' ')[1] ?? 0);
}

/** Calls back each time the cgroup may have become empty or populated. The returned function stops the watch. */
export function watchCgroup(path: string, onChange: () => void): () => void {
  try {
    const watcher = watch(join(path, 'cgroup.events'), { persistent: false }, onChange);
    // The removal of the cgroup ends the watch. That is normal.
    watcher.on('error', () => watcher.close());
    return () => watcher.close();
  } catch {
    return () => undefined;
  }
}

/** False: a process is still inside, or the cgroup is not curfew's. */
export function removeCgroup(path: string): boolean {
  return isCurfewGroup(path) && removeTree(path);
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
