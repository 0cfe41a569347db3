import type { WorkerId } from '../core/ids.ts';
import type { SupervisorMessage, WorkerMessage } from '../core/model/control-protocol.ts';

export interface ChannelsListener {
  /** A valid hello. `true`: this worker is known and welcome; false: refused. */
  hello(workerId: WorkerId): boolean;
  message(workerId: WorkerId, message: WorkerMessage): void;
  closed(workerId: WorkerId): void;
}

/** The control socket, with one connection per worker (the newer wins). */
export interface Channels {
  readonly socketPath: string;
  listen(listener: ChannelsListener): Promise<void>;
  /** The token that worker must say in its hello; derived, so that it holds over a restart. */
  tokenFor(workerId: WorkerId): string;
  /** False: no connection, or its backlog is full. */
  tell(workerId: WorkerId, message: SupervisorMessage): boolean;
  close(): Promise<void>;
}
