/** A session's logs as a stream of text: the last `tailBytes`. A followed stream goes on until the session ends. */
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

/** Returns the position after the last read byte of each log. Later output follows there. */
async function* tailOf(
  paths: readonly string[],
  tailBytes: number,
): AsyncGenerator<Buffer, Map<string, number>> {
  const seen = new Map<string, number>();
  const sizes = await Promise.all(paths.map(sizeOf));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  let skip = Math.max(0, total - tailBytes);
  let hasText = false;
  for (const [index, path] of paths.entries()) {
    const size = sizes[index] ?? 0;
    const from = Math.min(skip, size);
    skip -= from;
    if (from < size && hasText) yield separator(path);
    hasText ||= from < size;
    seen.set(path, yield* readRange(path, from, size));
  }
  return seen;
}

/** A line before the output of a replacement. The folder's name is the worker's id. */
function separator(path: string): Buffer {
  return Buffer.from(`\n--- ${basename(dirname(path))} ---\n`);
}

async function sizeOf(path: string): Promise<number> {
  return withFile(path, async (file) => (await file.stat()).size, 0);
}

/** Returns the position after the last read byte. It is less than `to` when the log was trimmed meanwhile. */
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

/** A missing log counts as empty. So does anything but a plain file, because a worker may have replaced the log. */
async function withFile<T>(path: string, work: (file: FileHandle) => Promise<T>, otherwise: T): Promise<T> {
  const file = await openRegular(path).catch(() => null);
  if (file === null) return otherwise;
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

/** Also sends new output until the session ends. */
export function followLogs(api: SupervisorApi, id: string, tailBytes: number): Readable {
  const followed: Readable = Readable.from(
    follow(api, id, { tailBytes, isWanted: () => !followed.destroyed }),
  );
  return followed;
}

/**
 * Yields new output, also of replacements, until the session ends. A trimmed log continues at its new end.
 * `isWanted`: false when the client is gone. While a log is silent, no failed write would show that.
 */
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
      if (index > 0 && from === 0 && size > 0) yield separator(path);
      seen.set(path, yield* readRange(path, from, size));
    }
  }
}
