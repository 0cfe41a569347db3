/** One folder per worker: the facts for a recovery, and the worker's log. Only the supervisor's user can read it. */
import { lstat, mkdir, open, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pTimeout from 'p-timeout';
import type { WorkerId } from '../../../core/ids.ts';
import { isWorkerName } from '../../../core/ids.ts';
import { CurfewError, messageOf } from '../../../lib/errors.ts';
import { FILES, WORKERS } from '../../../lib/limits/worker-limits.ts';
import { OPEN_FLAGS, readFileSafely } from '../../../lib/safe-files.ts';
import { removeTree } from '../temp/remove-tree.ts';

export interface WorkerFolder {
  readonly path: string;
  /** The worker's session and processes, or its warm profile. Replaced atomically. */
  readonly record: string;
  /** The shim creates it exclusively before the start. It contains the shim's line of /proc/PID/stat and the boot id. */
  readonly claim: string;
  /** The right to fork the worker. The zygote's child or the supervisor removes it, and only one of them can. */
  readonly order: string;
  /** The same for the command. The start time tells the command from a later process with its pid. */
  readonly pid: string;
  /** Exists if the command could not be executed. */
  readonly unstarted: string;
  /** The exit status from the shim's shell. Without its newline it is incomplete. */
  readonly status: string;
  /** The path of the worker's cgroup. Absent for a worker without one. */
  readonly cgroup: string;
  /** The processes that have had their SIGTERM: pid and start time, one in a line. */
  readonly terms: string;
  readonly log: string;
}

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const WHOLE = { mode: FILE_MODE, flag: OPEN_FLAGS.replace };

/** Throws for an id that is not a plain file name, so that no path outside `workersDir` is possible. */
export function folderOf(workersDir: string, workerId: WorkerId): WorkerFolder {
  if (!isWorkerName(workerId)) {
    throw new CurfewError('internal', `the worker id ${JSON.stringify(workerId)} cannot name a folder`);
  }
  const path = join(workersDir, workerId);
  return {
    path,
    record: `${path}/record.json`,
    claim: `${path}/claim`,
    order: `${path}/order`,
    pid: `${path}/pid`,
    unstarted: `${path}/unstarted`,
    status: `${path}/status`,
    cgroup: `${path}/cgroup`,
    terms: `${path}/terms`,
    log: `${path}/log`,
  };
}

export function makeFolder(folder: WorkerFolder): Promise<unknown> {
  return bounded(mkdir(folder.path, { recursive: true, mode: FOLDER_MODE }), folder.path);
}

/** Atomic, but without fsync: only a power cut can lose the record, and that ends the worker too. */
export function writeRecord(folder: WorkerFolder, record: object): Promise<void> {
  const temporary = `${folder.record}.tmp`;
  const written = writeFile(temporary, `${JSON.stringify(record)}\n`, WHOLE).then(() =>
    rename(temporary, folder.record),
  );
  return bounded(written, folder.record);
}

/** Writes a worker's record at each change of its session. Writes never overlap, and only the newest waits. */
export class RecordFile {
  readonly #folder: WorkerFolder;
  #next: object | null = null;
  #writing: Promise<void> | null = null;

  constructor(folder: WorkerFolder) {
    this.#folder = folder;
  }

  write(record: object): Promise<void> {
    this.#next = record;
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = null;
    });
    return this.#writing;
  }

  async #drain(): Promise<void> {
    for (let record = this.#next; record !== null; record = this.#next) {
      this.#next = null;
      await writeRecord(this.#folder, record);
    }
  }
}

/** Call it before the start. A later supervisor finds the worker's cgroup with this file. */
export function writeCgroup(folder: WorkerFolder, cgroup: string): Promise<void> {
  return bounded(writeFile(folder.cgroup, `${cgroup}\n`, WHOLE), folder.cgroup);
}

/** Takes the right to start, so that no shim can start the worker any more. False: a shim took it first. */
export async function takeClaim(folder: WorkerFolder): Promise<boolean> {
  await makeFolder(folder);
  const taken = open(folder.claim, 'wx', FILE_MODE).then(
    (file) => file.close().then(() => true),
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return false;
      throw error;
    },
  );
  return bounded(taken, folder.claim);
}

/** Opens the log in append mode. Then a cut leaves no hole where the worker writes next. */
export function openLog(folder: WorkerFolder) {
  return bounded(open(folder.log, 'a', FILE_MODE), folder.log);
}

/** Appends one line of curfew. A log that does not exist stays so, because its folder may have been pruned. */
export async function appendToLog(folder: WorkerFolder, line: string): Promise<void> {
  const file = await bounded(open(folder.log, OPEN_FLAGS.append), folder.log).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    },
  );
  if (file === null) return;
  try {
    await bounded(file.write(`curfew: ${line.replaceAll(/[\r\n]+/g, ' ')}\n`), folder.log);
  } finally {
    await file.close();
  }
}

/** The exit status and the time of its write. `null`: the file does not exist or is incomplete. */
export async function readStatus(folder: WorkerFolder): Promise<{ text: string; wallMs: number } | null> {
  const text = await readSmall(folder.status);
  if (text === null || !text.endsWith('\n')) return null;
  const written = await bounded(lstat(folder.status), folder.status).catch(() => null);
  return { text, wallMs: written?.mtimeMs ?? Date.now() };
}

/** `null`: the file does not exist, is not plain, is larger than `maxBytes`, or cannot be read in time. */
export async function readSmall(path: string, maxBytes: number = FILES.smallBytes): Promise<string | null> {
  return bounded(readFileSafely(path, maxBytes), path).catch(() => null);
}

/**
 * Removes the folders with no write since that time. Resolves with their number.
 * Because: a worker can fill its folder so that it cannot be removed. The folders of the others go anyway.
 */
export async function pruneFolders(options: {
  readonly workersDir: string;
  readonly olderThanWallMs: number;
  readonly keep: (name: string) => boolean;
  readonly failed: (name: string, error: string) => void;
}): Promise<number> {
  const { workersDir, olderThanWallMs, keep, failed } = options;
  const names = await bounded(readdir(workersDir), workersDir).catch(ifMissing([]));
  let removed = 0;
  for (const name of names) {
    if (!isWorkerName(name) || keep(name)) continue;
    try {
      if (await pruneFolder(join(workersDir, name), olderThanWallMs)) removed += 1;
    } catch (error) {
      failed(name, messageOf(error));
    }
  }
  return removed;
}

/** False: its last write is too new. Rejects where something of the folder is left. */
async function pruneFolder(path: string, olderThanWallMs: number): Promise<boolean> {
  if ((await lastWriteMs(path)) >= olderThanWallMs) return false;
  const error = await bounded(removeTree(path), path);
  if (error !== null) throw new Error(error);
  return true;
}

/** The time of the last write to the log, or of the folder if there is no log. Infinity: not a folder. */
async function lastWriteMs(path: string): Promise<number> {
  const folder = await bounded(lstat(path), path).catch(ifMissing(null));
  if (!folder?.isDirectory()) return Infinity;
  const log = await bounded(lstat(join(path, 'log')), path).catch(ifMissing(null));
  return log?.mtimeMs ?? folder.mtimeMs;
}

function ifMissing<T>(fallback: T): (error: unknown) => T {
  return (error) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return fallback;
    throw error;
  };
}

function bounded<T>(work: Promise<T>, path: string): Promise<T> {
  return pTimeout(work, {
    milliseconds: WORKERS.folderMs,
    // The error is created only on a timeout: with a thousand workers an unused error per file costs time.
    fallback: () => {
      throw new Error(`${path} did not answer within ${WORKERS.folderMs} ms`);
    },
  });
}
