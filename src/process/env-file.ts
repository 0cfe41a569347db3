/** Reads the `env_file` of a profile, in the format of dotenv. It is read at each start of a worker, so a rotated key counts. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { parseEnv } from 'node:util';
import pTimeout from 'p-timeout';
import { CurfewError, messageOf } from '../lib/errors.ts';
import { FILES, WORKERS } from '../lib/limits/worker-limits.ts';

/** Rejects spawn_failed, naming the file. No message shows a line of it, because its values are secrets. */
export async function readEnvFile(path: string): Promise<Record<string, string>> {
  const milliseconds = WORKERS.folderMs;
  const message = `the file system did not answer within ${milliseconds} ms`;
  try {
    return parse(await pTimeout(readText(path), { milliseconds, message }));
  } catch (error) {
    throw new CurfewError(
      'spawn_failed',
      `env_file: "${path}" cannot be read: ${messageOf(error)}; create it, or remove the key`,
    );
  }
}

/** Follows links, because secrets are often mounted as links. A FIFO without a writer does not block. */
async function readText(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new Error('it is not a plain file');
    if (stat.size > FILES.recordBytes) throw new Error(`it has more than ${FILES.recordBytes} bytes`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

function parse(text: string): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(parseEnv(text)))
    if (value !== undefined) variables[name] = value;
  return variables;
}
