/** Reading /proc, synchronously and cheaply: one shared buffer, no promises. Source: proc(5). */
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import type { ProcessIdentity } from '../core/session.ts';

export interface ProcessStat {
  readonly pid: number;
  readonly ppid: number;
  readonly pgid: number;
  readonly sid: number;
  /** One letter: R, S, D, T (stopped), t (traced), Z, X ... */
  readonly state: string;
  /** Start time in clock ticks since the boot. */
  readonly startTicks: number;
}

/** Reads throw for anything but a process that is gone or not ours to read: unknown is not gone. */
export interface ProcTable {
  pids(): number[];
  stat(pid: number): ProcessStat | null;
  /** What follows `prefix` in the variable that begins with it, in the initial environment. */
  mark(pid: number, prefix: string): string | null;
  /** The arguments, each ended by NUL; empty for a zombie. */
  cmdline(pid: number): string | null;
}

/** Fields 4, 5, 6 and 22 of the line; what is before the last `)` is the process's own to choose. */
export function parseStat(line: string): ProcessStat | null {
  const pid = Number.parseInt(line, 10);
  const [state, ...fields] = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const [ppid, pgid, sid] = fields.slice(0, 3).map(Number);
  const startTicks = Number(fields[18]);
  if (!state || !isCount(pid) || !isCount(ppid) || !isCount(startTicks)) return null;
  return isCount(pgid) && isCount(sid) ? { pid, ppid, pgid, sid, state, startTicks } : null;
}

function isCount(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0;
}

/** Zombies answer to kill(pid, 0), but are dead. */
export function isDead(stat: ProcessStat): boolean {
  return stat.state === 'Z' || stat.state === 'X' || stat.state === 'x';
}

/** The process with this identity, if it still runs. */
export function findAlive(proc: ProcTable, identity: Pick<ProcessIdentity, 'pid' | 'startTicks'>) {
  const stat = proc.stat(identity.pid);
  return stat?.startTicks === identity.startTicks && !isDead(stat) ? stat : null;
}

export function findMark(environ: Buffer, prefix: string): string | null {
  let at = environ.indexOf(prefix);
  while (at > 0 && environ[at - 1] !== 0) at = environ.indexOf(prefix, at + 1);
  if (at < 0) return null;
  const end = environ.indexOf(0, at);
  return environ.toString('utf8', at + prefix.length, end < 0 ? environ.length : end);
}

/** No such process, or (environ of a zombie) none any more. */
const GONE = ['ENOENT', 'ESRCH'];
/** Another user's: its environment is not ours to read, so it is not ours to judge. */
const FOREIGN = ['EACCES', 'EPERM'];
/** With hidepid=1 nothing at all of another user's process can be read. */
export function isForeign(error: unknown): boolean {
  return FOREIGN.includes((error as NodeJS.ErrnoException).code ?? '');
}

const FIRST_BUFFER_BYTES = 64 * 1024;
/** An environment may be as large as the kernel lets all arguments be: 6 MiB at most. */
const MAX_BUFFER_BYTES = 8 * 1024 * 1024;

export function createProcTable(): ProcTable {
  let buffer = Buffer.allocUnsafe(FIRST_BUFFER_BYTES);

  /** The file's bytes, valid until the next read. */
  function read(path: string, absent: readonly string[]): Buffer | null {
    try {
      const fd = openSync(path, 'r');
      try {
        return buffer.subarray(0, fill(fd));
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      if (absent.includes((error as NodeJS.ErrnoException).code ?? '')) return null;
      throw error;
    }
  }

  function fill(fd: number): number {
    let length = 0;
    for (;;) {
      const got = readSync(fd, buffer, length, buffer.length - length, null);
      length += got;
      if (got === 0 || length === MAX_BUFFER_BYTES) return length;
      if (length === buffer.length) buffer = Buffer.concat([buffer], buffer.length * 2);
    }
  }

  return {
    pids: () => readdirSync('/proc').map(Number).filter(Number.isInteger),
    stat: (pid) => {
      const bytes = read(`/proc/${pid}/stat`, GONE);
      return bytes && parseStat(bytes.toString('latin1'));
    },
    mark: (pid, prefix) => {
      const bytes = read(`/proc/${pid}/environ`, [...GONE, ...FOREIGN]);
      return bytes && findMark(bytes, prefix);
    },
    cmdline: (pid) => read(`/proc/${pid}/cmdline`, GONE)?.toString('latin1') ?? null,
  };
}
