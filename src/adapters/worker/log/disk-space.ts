/** Whether the disk of the logs is almost full. Records, and other programs of the host, need it as well. */
import { statfs } from 'node:fs/promises';

/** Both amounts of a disk that must stay free. The smaller one counts. */
export interface DiskReserve {
  readonly bytes: number;
  /** Of the whole disk. */
  readonly share: number;
}

/** How much the disk of `path` lacks to its reserve. Zero or less: nothing. Rejects with errors of the file system. */
export async function lackingBytes(path: string, reserve: DiskReserve): Promise<number> {
  const { bavail, blocks, bsize } = await statfs(path);
  return Math.min(reserve.bytes, reserve.share * blocks * bsize) - bavail * bsize;
}
