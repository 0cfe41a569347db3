/** Reads the `env_file` of a profile, in the format of dotenv. It is read at each start of a worker, so a rotated key counts. */
import { isUtf8 } from 'node:buffer';
import type { Stats } from 'node:fs';
import { constants, readFileSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import pTimeout from 'p-timeout';
import { CurfewError, messageOf } from '../lib/errors.ts';
import { FILES, WORKERS } from '../lib/limits/worker-limits.ts';
import { parseEnvText } from './env-text.ts';

/** Rejects spawn_failed, naming file and line. No message shows a value or a part of one, because values are secrets. */
export async function readEnvFile(path: string): Promise<Record<string, string>> {
  const milliseconds = WORKERS.folderMs;
  const message = `the file system did not answer within ${milliseconds} ms`;
  try {
    return parseEnvText(textOf(await pTimeout(readBytes(path), { milliseconds, message })), WORKERS.envBytes);
  } catch (error) {
    throw new CurfewError('spawn_failed', faultOf(path, error));
  }
}

/** The fault that a start would find; null: there is none. It blocks, so only a check of the config may call it. */
export function envFileFault(path: string): string | null {
  try {
    checkStats(statSync(path));
    parseEnvText(textOf(readFileSync(path)), WORKERS.envBytes);
    return null;
  } catch (error) {
    return faultOf(path, error);
  }
}

function faultOf(path: string, error: unknown): string {
  return `env_file: "${path}" cannot be read: ${messageOf(error)}; correct the file, or remove the key`;
}

function checkStats(stats: Stats): void {
  if (!stats.isFile()) throw new Error('it is not a plain file');
  if (stats.size > FILES.recordBytes) throw new Error(`it has more than ${FILES.recordBytes} bytes`);
}

/** Follows links, because secrets are often mounted as links. A FIFO without a writer does not block. */
async function readBytes(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    checkStats(await file.stat());
    return await file.readFile();
  } finally {
    await file.close();
  }
}

function textOf(bytes: Buffer): string {
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
    throw new Error('it is UTF-16, and only UTF-8 can be read');
  if (!isUtf8(bytes)) {
    const lines = bytes.toString('latin1').split('\n');
    const bad = lines.findIndex((line) => !isUtf8(Buffer.from(line, 'latin1')));
    throw new Error(`line ${bad + 1} is not UTF-8`);
  }
  // Editors on Windows begin a file with a byte order mark.
  return bytes.toString('utf8').replace(/^\uFEFF/, '');
}
