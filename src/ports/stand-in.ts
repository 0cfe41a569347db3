import type { WorkerId } from '../core/ids.ts';
import type { Profile } from '../core/model/profile.ts';
import type { ChannelsListener } from './channels.ts';

/** The job that an unchanged LiveKit agent is given. */
export interface StandInJob {
  readonly id: string;
  readonly room: { readonly name: string; readonly sid: string | null };
  /** As the agent's `ctx.job.metadata` shows it. */
  readonly metadata: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly agentName: string;
  /** The real LiveKit and a token for this one room. */
  readonly url: string;
  readonly token: string;
}

export interface StandInListener extends ChannelsListener {
  /** The room in which this worker works, and its side rooms; a call of the LiveKit API for any other is refused. */
  roomsOf(workerId: WorkerId): readonly string[];
}

/** Stands in for the LiveKit server's `/agent` towards unchanged LiveKit agents; one connection per worker, the newer wins. */
export interface StandIn {
  /** Where workers find it; the same over restarts. */
  readonly url: string;
  /** Rejects invalid_config when its port is taken. */
  listen(listener: StandInListener): Promise<void>;
  /** Made for this worker alone; derived, so that they hold over a restart. */
  keysFor(workerId: WorkerId): { readonly apiKey: string; readonly apiSecret: string };
  /** What such a worker finds in its environment beyond what every worker does: the address, its keys, the launchers. */
  envFor(workerId: WorkerId, profile: Pick<Profile, 'env' | 'passEnv'>): Readonly<Record<string, string>>;
  /** The worker says `ready` when it has accepted the job. False: it is not connected. */
  assign(workerId: WorkerId, job: StandInJob): boolean;
  /** The graceful end of its job. False: it is not connected. */
  terminate(workerId: WorkerId): boolean;
  close(): Promise<void>;
}
