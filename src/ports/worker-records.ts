import type { WorkerId } from '../core/ids.ts';
import type { Profile } from '../core/model/profile.ts';
import type { Session } from '../core/model/session.ts';
import type { WorkerProcess } from '../core/model/worker.ts';

export interface WarmRecord {
  readonly profile: Profile;
  readonly process: WorkerProcess | null;
  /** Not to be handed out: it was being let go, or is a LiveKit agent that was given a job. */
  readonly isSpent: boolean;
}

/** The records in the workers' folders. */
export interface WorkerRecords {
  list(): Promise<WorkerId[]>;
  /** The session as it was when the worker was started or last changed; null: none that can be read. */
  read(id: WorkerId): Promise<{ session: Session; process: WorkerProcess | null } | null>;
  /** What a warm worker that has no session yet was started with; null: it is none. */
  readWarm(id: WorkerId): Promise<WarmRecord | null>;
}
