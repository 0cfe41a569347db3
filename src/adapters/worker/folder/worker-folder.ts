/** One folder per worker: what a recovery needs to know of it, and what it printed. Only its owner may look inside. */
import { lstat, mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pTimeout from 'p-timeout';
import type { WorkerId } from '../../../core/ids.ts';
import { isWorkerName } from '../../../core/ids.ts';
import { CurfewError } from '../../../lib/errors.ts';
import { FILES, WORKERS } from '../../../lib/limits/worker-limits.ts';
import { readFileSafely, WRITE_FLAGS } from '../../../lib/safe-files.ts';

export interface WorkerFolder {
  readonly path: string;
  /** Who it is for; rewritten atomically. */
  readonly record: string;
  /** Created exclusively, by the shim before it goes on: holds the shim's line of /proc/PID/stat and the boot's id. */
  readonly claim: string;
  /** The same of the command: its pid, and its start time, which tells it from a later process. */
  readonly pid: string;
  /** Says that the command could not be executed. */
  readonly unstarted: string;
  /** The exit status as the shell saw it. Without its newline it is not written yet. */
  readonly status: string;
  /** The path of the worker's cgroup; absent where it has none. Read by group.ts. */
  readonly cgroup: string;
  readonly log: string;
}

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const WHOLE = { mode: FILE_MODE, flag: WRITE_FLAGS };

/** Throws for an id that is not one plain file name: nothing outside `workersDir` is ever touched. */
export function folderOf(workersDir: string, workerId: WorkerId): WorkerFolder {
  if (!isWorkerName(workerId)) {
    throw new CurfewError('internal', `the worker id ${JSON.stringify(workerId)} cannot name a folder`);
  }
  const path = join(workersDir, workerId);
  return {
    path,
    record: `${path}/record.json`,
    claim: `${path}/claim`,
    pid: `${path}/pid`,
    unstarted: `${path}/unstarted`,
    status: `${path}/status`,
    cgroup: `${path}/cgroup`,
    log: `${path}/log`,
  };
}

export function makeFolder(folder: WorkerFolder): Promise<unknown> {
  return bounded(mkdir(folder.path, { recursive: true, mode: FOLDER_MODE }), folder.path);
}

/**
 * Written whole or not at all. Not synced: a power cut, which alone could lose it, ends the worker as well.
 */
export function writeRecord(folder: WorkerFolder, record: object): Promise<void> {
  const temporary = `${folder.record}.tmp`;
  const written = writeFile(temporary, `${JSON.stringify(record)}\n`, WHOLE).then(() =>
    rename(temporary, folder.record),
  );
  return bounded(written, folder.record);
}

/** A worker's record, rewritten as its session changes: the newest wins, and no two writes meet. */
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

/** Before the start: whoever finds the worker later finds its group by this. */
export function writeCgroup(folder: WorkerFolder, cgroup: string): Promise<void> {
  return bounded(writeFile(folder.cgroup, `${cgroup}\n`, WHOLE), folder.cgroup);
}

/** Takes the right to start away from a shim that has not begun. False: it was faster. */
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

/** Opened to append: what is cut out of the file's middle then leaves no hole where the worker writes on. */
export function openLog(folder: WorkerFolder) {
  return bounded(open(folder.log, 'a', FILE_MODE), folder.log);
}

/** The exit status and when it was written; null: it is not there yet, or not to its end. */
export async function readStatus(folder: WorkerFolder): Promise<{ text: string; wallMs: number } | null> {
  const text = await readSmall(folder.status);
  if (text === null || !text.endsWith('\n')) return null;
  const written = await bounded(lstat(folder.status), folder.status).catch(() => null);
  return { text, wallMs: written?.mtimeMs ?? Date.now() };
}

/** Null: there is none, or what is there is no file of ours. */
export async function readSmall(path: string, maxBytes: number = FILES.smallBytes): Promise<string | null> {
  return bounded(readFileSafely(path, maxBytes), path).catch(() => null);
}

/** Removes the folders that were last written to before that time; how many. */
export async function pruneFolders(options: {
  readonly workersDir: string;
  readonly olderThanWallMs: number;
  readonly keep: (name: string) => boolean;
}): Promise<number> {
  const names = await bounded(readdir(options.workersDir), options.workersDir).catch(ifMissing([]));
  let removed = 0;
  for (const name of names) {
    if (!isWorkerName(name) || options.keep(name)) continue;
    const path = join(options.workersDir, name);
    if ((await lastWriteMs(path)) >= options.olderThanWallMs) continue;
    await bounded(rm(path, { recursive: true, force: true }), path);
    removed += 1;
  }
  return removed;
}

/** Of the log, or of the folder where nothing was printed; Infinity for what is no folder of ours. */
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
    // Made when it is needed: an error for each file of a thousand workers is a part of their release.
    fallback: () => {
      throw new Error(`${path} did not answer within ${WORKERS.folderMs} ms`);
    },
  });
}
