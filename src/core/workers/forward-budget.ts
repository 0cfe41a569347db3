/** Which lines of workers may wait for a slow reader of forwarded logs. Other lines are dropped and counted. */
import { FORWARD } from '../../lib/limits/forward-limits.ts';

export interface Waiting {
  /** Bytes that wait, of all workers. */
  readonly totalBytes: number;
  /** Bytes that wait, of this worker. */
  readonly ownBytes: number;
}

/** A loud worker has a share, and each worker a small reserve. So the lines of a quiet worker wait beside a loud one. */
export function mayWait({ totalBytes, ownBytes }: Waiting, lineBytes: number): boolean {
  const own = ownBytes + lineBytes;
  const total = totalBytes + lineBytes;
  if (total <= FORWARD.waitingBytes && own <= FORWARD.waitingBytes * FORWARD.workerShare) return true;
  return own <= FORWARD.reservedBytes && total <= FORWARD.waitingBytes + FORWARD.reservesBytes;
}
