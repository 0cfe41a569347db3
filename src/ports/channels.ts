/** The control socket between the supervisor and its workers. */
import type { WorkerId } from '../core/ids.ts';
import type { SupervisorMessage, WorkerMessage } from '../core/model/control-protocol.ts';

export interface ChannelsListener {
  /** A valid hello. `kit`: the client's own name. true: the worker is known, and the connection stays. false: it is refused. */
  hello(workerId: WorkerId, kit?: string): boolean;
  message(workerId: WorkerId, message: WorkerMessage): void;
  closed(workerId: WorkerId): void;
}

/** One connection per worker; a newer connection replaces an older one. */
export interface Channels {
  readonly socketPath: string;
  listen(listener: ChannelsListener): Promise<void>;
  /** The token that the worker sends in its hello. It is derived from the master key, so it is valid after a restart. */
  tokenFor(workerId: WorkerId): string;
  /** false: the worker has no connection, or too many bytes are unsent. */
  send(workerId: WorkerId, message: SupervisorMessage): boolean;
  close(): Promise<void>;
}
