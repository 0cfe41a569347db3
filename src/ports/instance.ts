import type { InstanceId } from '../core/ids.ts';

/** One state directory: its id, its folders, its lock and its keys. */
export interface Instance {
  readonly id: InstanceId;
  readonly stateDir: string;
  readonly workersDir: string;
  readonly bootId: string;
  /** From which tokens are derived; never leaves the process. */
  readonly masterKey: Buffer;
  /** When id and key were made, the later of the two: a worker from before has others, and cannot prove itself. */
  readonly madeWallMs: number;
}
