/** The instance: one state directory with its id, its folders, its lock and its keys. */
import type { InstanceId } from '../core/ids.ts';

export interface Instance {
  readonly id: InstanceId;
  readonly stateDir: string;
  readonly workersDir: string;
  readonly bootId: string;
  /** Tokens of workers and sessions are derived from this key. It never leaves the process. */
  readonly masterKey: Buffer;
  /** Unix time in milliseconds of the newer of id and key. An older worker has another key and cannot prove itself. */
  readonly madeWallMs: number;
}
