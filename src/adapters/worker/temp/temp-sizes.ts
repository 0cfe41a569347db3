/** Looks at the sizes of the workers' temporary folders from time to time, and tells those over the bound. */
import type { Dirent } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkerId } from '../../../core/ids.ts';
import { TEMP } from '../../../lib/limits/temp-limits.ts';
import type { Log } from '../../../ports/log.ts';
import type { TempFolders } from './temp-folders.ts';

const BLOCK_BYTES = 512;

interface TempSizes {
  readonly temp: TempFolders;
  readonly maxBytes: number;
  readonly log: Log;
  readonly workers: () => readonly WorkerId[];
  readonly everyMs?: number;
}

/** Checks repeatedly until the returned function is called. The log names a worker once, and again after it was below the bound. */
export function watchTempSizes({
  temp,
  maxBytes,
  log,
  workers,
  everyMs = TEMP.checkMs,
}: TempSizes): () => void {
  const over = new Set<WorkerId>();
  let stopped = false;
  const next = () => setTimeout(tick, everyMs).unref();
  let timer = next();

  async function check(id: WorkerId): Promise<void> {
    const path = await temp.find(id);
    const usedBytes = path === null ? 0 : await sizeOf(path);
    const isOver = usedBytes > maxBytes;
    if (isOver && !over.has(id))
      log.warn(
        { worker: id, path, usedBytes, maxBytes },
        'a worker has more temporary files than temp_max: curfew removes them with the worker, and not before',
      );
    if (isOver) over.add(id);
    else over.delete(id);
  }

  async function tick(): Promise<void> {
    const all = workers();
    for (const id of over) if (!all.includes(id)) over.delete(id);
    for (const id of all) if (!stopped) await check(id);
    if (!stopped) timer = next();
  }

  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** Bytes on the disk below a folder. The first files count, because the walk has a bound. Never rejects. */
export async function sizeOf(top: string): Promise<number> {
  const folders = [top];
  let bytes = 0;
  let left: number = TEMP.checkFiles;
  for (let folder = folders.pop(); folder !== undefined && left > 0; folder = folders.pop()) {
    for await (const entry of entriesOf(folder)) {
      left -= 1;
      if (left <= 0) break;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else bytes += (await lstat(path).catch(() => null))?.blocks ?? 0;
    }
  }
  return bytes * BLOCK_BYTES;
}

/** A folder that cannot be read counts as empty. */
async function* entriesOf(folder: string): AsyncGenerator<Dirent> {
  const dir = await opendir(folder).catch(() => null);
  if (dir === null) return;
  try {
    yield* dir;
  } catch {
    // The worker removed the folder meanwhile.
  }
}
