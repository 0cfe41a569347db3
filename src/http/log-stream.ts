/** A session's logs as a stream of text. Bounded from the end; following goes on until the session has ended. */
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { Readable } from 'node:stream';
import type { SupervisorApi } from '../api/supervisor-api.ts';
import { HTTP } from '../lib/limits/api-limits.ts';
import { openRegular } from '../lib/safe-files.ts';

const CHUNK_BYTES = 64 * 1024;

export function readLogs(paths: readonly string[], tailBytes: number): Readable {
  return Readable.from(tailOf(paths, tailBytes));
}

/** Returns how far each log was read: what is printed meanwhile comes after that. */
async function* tailOf(
  paths: readonly string[],
  tailBytes: number,
): AsyncGenerator<Buffer, Map<string, number>> {
  const seen = new Map<string, number>();
  const sizes = await Promise.all(paths.map(sizeOf));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  let skip = Math.max(0, total - tailBytes);
  let told = false;
  for (const [index, path] of paths.entries()) {
    const size = sizes[index] ?? 0;
    const from = Math.min(skip, size);
    skip -= from;
    if (from < size && told) yield border(path);
    told ||= from < size;
    seen.set(path, yield* readRange(path, from, size));
  }
  return seen;
}

/** Between a worker's words and those of its replacement, whose folder has its id. */
function border(path: string): Buffer {
  return Buffer.from(`\n--- ${basename(dirname(path))} ---\n`);
}

async function sizeOf(path: string): Promise<number> {
  return withFile(path, async (file) => (await file.stat()).size, 0);
}

/** Returns how far it came: less than asked where the log was cut meanwhile. */
async function* readRange(path: string, from: number, to: number): AsyncGenerator<Buffer, number> {
  let at = from;
  while (at < to) {
    const chunk = await readAt(path, at, Math.min(CHUNK_BYTES, to - at));
    if (chunk.length === 0) break;
    at += chunk.length;
    yield chunk;
  }
  return at;
}

function readAt(path: string, position: number, bytes: number): Promise<Buffer> {
  return withFile(
    path,
    async (file) => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, position);
      return buffer.subarray(0, bytesRead);
    },
    Buffer.alloc(0),
  );
}

/** A log that is not there (yet, or any more) is empty, as is what a worker put in its place. */
async function withFile<T>(path: string, work: (file: FileHandle) => Promise<T>, otherwise: T): Promise<T> {
  const file = await openRegular(path).catch(() => null);
  if (file === null) return otherwise;
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

export function followLogs(api: SupervisorApi, id: string, tailBytes: number): Readable {
  const followed: Readable = Readable.from(
    follow(api, id, { tailBytes, isWanted: () => !followed.destroyed }),
  );
  return followed;
}

/** Ends with the session, or when nobody reads any more: while a log is silent nothing else would tell. New bytes as they come, over replacements of the worker; a log that was cut is read on from its new end. */
async function* follow(
  api: SupervisorApi,
  id: string,
  { tailBytes, isWanted }: { tailBytes: number; isWanted: () => boolean },
): AsyncGenerator<Buffer> {
  const seen = yield* tailOf(await api.logPaths(id), tailBytes);
  for (let ended = false; !ended && isWanted(); ) {
    const session = await api.wait(id, 'ended', HTTP.followMs);
    ended = session.endedAt !== null;
    for (const [index, path] of (await api.logPaths(id)).entries()) {
      const size = await sizeOf(path);
      const from = Math.min(seen.get(path) ?? 0, size);
      if (index > 0 && from === 0 && size > 0) yield border(path);
      seen.set(path, yield* readRange(path, from, size));
    }
  }
}
