/** Reading /proc, synchronously and cheaply: one shared buffer, no promises. Source: proc(5). */
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import type { ProcessIdentity } from '../core/model/worker.ts';

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

/**
 * `null`: the process is gone, or (`mark` only) belongs to another user.
 * Any other failure throws, because an unknown state is not proof that a process is gone.
 */
export interface ProcTable {
  pids(): number[];
  /** The same without a block of the event loop: with thousands of processes `pids` takes some milliseconds. */
  pidsAsync(): Promise<number[]>;
  stat(pid: number): ProcessStat | null;
  /** The rest of the variable that begins with `prefix`, in the initial environment. `null`: there is none. */
  mark(pid: number, prefix: string): string | null;
  /** The arguments, each followed by NUL. Empty for a zombie. */
  cmdline(pid: number): string | null;
}

export function parseStat(line: string): ProcessStat | null {
  return parseStatBytes(Buffer.from(line, 'latin1'));
}

const [CLOSE, SPACE, ZERO] = [')', ' ', '0'].map((one) => one.charCodeAt(0)) as [number, number, number];
/** Index of the start time among the fields after the name. It is field 22 of the line. */
const LAST_FIELD = 19;

/**
 * The process chooses its own name, so only the last `)` ends it.
 * The parser works on bytes for speed: a cleanup reads thousands of these lines.
 */
function parseStatBytes(bytes: Buffer): ProcessStat | null {
  const close = bytes.lastIndexOf(CLOSE);
  const pid = readCount(bytes, 0);
  if (close < 0 || pid < 0) return null;
  const state = String.fromCharCode(bytes[close + 2] ?? SPACE);
  const fields = [-1, -1, -1];
  let at = close + 2;
  for (let field = 1; field <= LAST_FIELD; field += 1) {
    at = bytes.indexOf(SPACE, at) + 1;
    if (at === 0) return null;
    if (field <= fields.length) fields[field - 1] = readCount(bytes, at);
  }
  const [ppid = -1, pgid = -1, sid = -1] = fields;
  const startTicks = readCount(bytes, at);
  if (state === ' ' || Math.min(ppid, pgid, sid, startTicks) < 0) return null;
  return { pid, ppid, pgid, sid, state, startTicks };
}

/** -1: the bytes contain no number at this offset. */
function readCount(bytes: Buffer, from: number): number {
  let value = 0;
  let at = from;
  for (; at < bytes.length; at += 1) {
    const digit = (bytes[at] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return at === from || !Number.isSafeInteger(value) ? -1 : value;
}

/** True also for zombies, although kill(pid, 0) succeeds for them. */
export function isDead(stat: ProcessStat): boolean {
  return stat.state === 'Z' || stat.state === 'X' || stat.state === 'x';
}

/** `null`: the process with this identity does not run any more. */
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

function toPids(names: readonly string[]): number[] {
  return names.map(Number).filter(Number.isInteger);
}

/** No such process. ESRCH also comes for the environment of a zombie. */
const GONE = ['ENOENT', 'ESRCH'];
/** A process of another user. Its environment cannot be read, so it cannot carry our mark. */
const FOREIGN = ['EACCES', 'EPERM'];
/** True if the process belongs to another user. With hidepid=1 none of its files can be read. */
export function isForeign(error: unknown): boolean {
  return FOREIGN.includes((error as NodeJS.ErrnoException).code ?? '');
}

const FIRST_BUFFER_BYTES = 64 * 1024;
/** Arguments and environment together have at most 6 MiB in the kernel. */
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
      const room = buffer.length - length;
      const got = readSync(fd, buffer, length, room, null);
      length += got;
      // These files return all their bytes in one read, so a short read is the end.
      if (got < room || length === MAX_BUFFER_BYTES) return length;
      if (length === buffer.length) buffer = Buffer.concat([buffer], buffer.length * 2);
    }
  }

  return {
    pids: () => toPids(readdirSync('/proc')),
    pidsAsync: async () => toPids(await readdir('/proc')),
    stat: (pid) => {
      const bytes = read(`/proc/${pid}/stat`, GONE);
      return bytes && parseStatBytes(bytes);
    },
    mark: (pid, prefix) => {
      const bytes = read(`/proc/${pid}/environ`, [...GONE, ...FOREIGN]);
      return bytes && findMark(bytes, prefix);
    },
    cmdline: (pid) => read(`/proc/${pid}/cmdline`, GONE)?.toString('latin1') ?? null,
  };
}
