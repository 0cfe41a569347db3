/** Finds a command as exec would, before the start, so that the error can name the missing file. */
import type { Stats } from 'node:fs';
import { accessSync, constants, statSync } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import pTimeout from 'p-timeout';
import { CurfewError } from '../lib/errors.ts';
import { WORKERS } from '../lib/limits/worker-limits.ts';

const NAMED_FOLDERS = 3;

interface Wanted {
  readonly command: string;
  /** The worker's own PATH. */
  readonly path: string;
  readonly cwd: string;
}

/** The absolute path of the program. Rejects spawn_failed, naming the command or the folder. */
export function findCommand(wanted: Wanted): Promise<string> {
  const milliseconds = WORKERS.folderMs;
  const message = `the file system did not answer within ${milliseconds} ms while curfew searched for the command ${wanted.command}`;
  return pTimeout(find(wanted), { milliseconds, message: new CurfewError('spawn_failed', message) });
}

async function find({ command, path, cwd }: Wanted): Promise<string> {
  if (!(await statOf(cwd))?.isDirectory()) {
    throw new CurfewError('spawn_failed', `the working folder ${cwd} is not a folder`);
  }
  let blocked: string | null = null;
  for (const program of candidates({ command, path, cwd })) {
    const info = await statOf(program);
    if (info?.isFile() && (await mayRun(program))) return program;
    if (info) blocked ??= program;
  }
  const what = `the command ${JSON.stringify(command)}`;
  if (blocked) throw new CurfewError('spawn_failed', `${what} is not executable: ${blocked}`);
  const where = isByName(command)
    ? `it is not in ${foldersIn(path)}`
    : `there is no ${resolve(cwd, command)}`;
  throw new CurfewError('spawn_failed', `${what} was not found: ${where}`);
}

/** Searches the same files synchronously, for a check of the config. */
export function commandExists(wanted: Wanted): boolean {
  return candidates(wanted).some((program) => {
    try {
      accessSync(program, constants.X_OK);
      return statSync(program).isFile();
    } catch {
      return false;
    }
  });
}

function candidates({ command, path, cwd }: Wanted): string[] {
  if (command === '') return [];
  return isByName(command)
    ? path.split(':').map((folder) => resolve(cwd, folder, command))
    : [resolve(cwd, command)];
}

function isByName(command: string): boolean {
  return !command.includes('/');
}

/** A PATH may have twenty folders. The first few identify it. */
function foldersIn(path: string): string {
  const folders = path.split(':');
  const more = folders.length - NAMED_FOLDERS;
  const named = folders.slice(0, NAMED_FOLDERS).join(', ');
  return more > 0 ? `${named} or ${more} more of its PATH` : named;
}

function statOf(path: string): Promise<Stats | null> {
  return stat(path).catch(() => null);
}

function mayRun(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
