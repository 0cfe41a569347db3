/** One state directory: its id, its keys, and the lock that excludes a second supervisor. */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { InstanceId } from '../../core/ids.ts';
import { instanceId } from '../../core/ids.ts';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import { STATE_FILES } from '../../lib/limits/storage-limits.ts';
import { FILES } from '../../lib/limits/worker-limits.ts';
import { isPlainFile, linkOf, readFileSafelySync, writeFileSafelySync } from '../../lib/safe-files.ts';
import type { Instance } from '../../ports/instance.ts';

export const LOCK_FILE = 'supervisor.lock';
const KEY_BYTES = 32;
/** The id is part of marks and of names of cgroups. */
const INSTANCE_ID = /^[0-9a-f]{20}$/;

/** Throws already_running if another supervisor holds the directory, invalid_config if it cannot be used. */
export function openInstance(stateDir: string): { instance: Instance; release: () => void } {
  const workersDir = join(stateDir, STATE_FILES.workers);
  prepare(stateDir);
  prepare(workersDir);
  const release = lock(stateDir);
  try {
    return { instance: readInstance(stateDir, workersDir), release };
  } catch (error) {
    release();
    throw error;
  }
}

function readInstance(stateDir: string, workersDir: string): Instance {
  const id = instanceId(readOrCreate(join(stateDir, 'instance.id'), () => randomBytes(10).toString('hex')));
  if (!INSTANCE_ID.test(id))
    throw unusable(
      join(stateDir, 'instance.id'),
      'it is not an id of curfew, which has 20 hexadecimal digits',
    );
  const masterKey = Buffer.from(
    readOrCreate(join(stateDir, 'master.key'), () => randomBytes(KEY_BYTES).toString('base64url')),
    'base64url',
  );
  if (masterKey.length !== KEY_BYTES)
    throw unusable(
      join(stateDir, 'master.key'),
      'it is not a key of curfew. Put the right key back. Without calls you may also remove the file: curfew then creates a new key, with which no live worker could reconnect',
    );
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const madeWallMs = Math.max(
    ...['instance.id', 'master.key'].map((name) => statSync(join(stateDir, name)).mtimeMs),
  );
  return { id, stateDir, workersDir, bootId, masterKey, madeWallMs };
}

/** The first token of the HTTP API, with all scopes. */
export function ensureAdminToken(stateDir: string): string {
  return readOrCreate(join(stateDir, 'admin.token'), () => randomBytes(24).toString('base64url'));
}

function prepare(dir: string): void {
  try {
    if (existsSync(dir) && !statSync(dir).isDirectory()) throw new Error('it is a file, not a directory');
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw unusable(dir, messageOf(error));
  }
}

function unusable(path: string, why: string): CurfewError {
  return new CurfewError('invalid_config', `state_dir: "${path}" cannot be used: ${why}`, { path });
}

/** Race: two processes may create the file. A link of a complete draft makes the first one win, and no reader sees half. */
function readOrCreate(path: string, make: () => string): string {
  try {
    if (!existsSync(path)) createWhole(path, make());
    const text = readText(path);
    if (text === '') throw new Error('it is empty');
    return text;
  } catch (error) {
    throw unusable(path, messageOf(error));
  }
}

function readText(path: string): string {
  return readFileSafelySync(path, FILES.smallBytes, 'followed').trim();
}

function createWhole(path: string, text: string): void {
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  writeFileSync(draft, `${text}\n`, { mode: 0o600, flush: true });
  try {
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Because: the garbage collector closes an unreferenced database and so releases its lock. */
const HELD_LOCKS = new Set<DatabaseSync>();

/**
 * Because: Node has no flock. The kernel releases SQLite's exclusive lock when the process ends for any reason.
 * The pid file next to it is only for the error message of a second supervisor.
 */
function lock(stateDir: string): () => void {
  const path = join(stateDir, LOCK_FILE);
  const pidPath = join(stateDir, 'supervisor.pid');
  const database = openLock(path);
  try {
    database.exec('PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=DELETE; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (!messageOf(error).includes('locked')) throw unusable(path, messageOf(error));
    throw inUse(stateDir, readPid(pidPath));
  }
  const pid = holderOfRemovedLock(path, pidPath);
  if (pid !== null) {
    database.close();
    throw inUse(stateDir, pid);
  }
  try {
    writeFileSafelySync(pidPath, `${process.pid}\n`);
  } catch {
    // The pid is only for a message. A supervisor must start on a full disk too.
  }
  HELD_LOCKS.add(database);
  return () => {
    HELD_LOCKS.delete(database);
    // If the directory was replaced, the pid file belongs to another supervisor.
    if (readPid(pidPath) === String(process.pid)) rmSync(pidPath, { force: true });
    database.close();
  };
}

function inUse(stateDir: string, pid: string): CurfewError {
  return new CurfewError(
    'already_running',
    `state_dir "${stateDir}" is in use by a supervisor${pid === '' ? '' : ` with pid ${pid}`}`,
    { pid },
  );
}

/** Empty: the file does not exist or contains no pid. */
function readPid(pidPath: string): string {
  try {
    const pid = readText(pidPath);
    return /^\d+$/.test(pid) ? pid : '';
  } catch {
    return '';
  }
}

/**
 * The pid of a supervisor that still holds a removed lock file. Then our own lock is a new file and excludes no process.
 * `null`: no such supervisor is visible.
 */
function holderOfRemovedLock(path: string, pidPath: string): string | null {
  try {
    const pid = readPid(pidPath);
    if (pid === '') return null;
    const removed = `${realpathSync(path)} (deleted)`;
    const held = readdirSync(`/proc/${pid}/fd`).some((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === removed);
    return held ? pid : null;
  } catch {
    return null;
  }
}

/** True if a supervisor holds this state directory now. The check takes no lock. */
export function isSupervised(stateDir: string): boolean {
  const path = join(stateDir, LOCK_FILE);
  if (!isPlainFile(path)) return false;
  const database = new DatabaseSync(path, { timeout: 0, readOnly: true });
  try {
    database.prepare('SELECT count(*) FROM sqlite_schema').get();
    return false;
  } catch (error) {
    return messageOf(error).includes('locked');
  } finally {
    database.close();
  }
}

/** Reads the id of a state directory without opening it. `null`: it has none. */
export function readInstanceId(stateDir: string): InstanceId | null {
  try {
    const text = readText(join(stateDir, 'instance.id'));
    return INSTANCE_ID.test(text) ? instanceId(text) : null;
  } catch {
    return null;
  }
}

function openLock(path: string): DatabaseSync {
  try {
    // Race: a check by `isSupervised` holds the file for a moment. The timeout waits for its end.
    const database = new DatabaseSync(path, { timeout: 300 });
    chmodSync(path, 0o600);
    return database;
  } catch (error) {
    throw unusable(path, messageOf(error));
  }
}

/** The view of other state directories, for a cleanup. */
export const STATE_DIRS = { lockFile: LOCK_FILE, readInstanceId, isSupervised } as const;
