/** The records in the workers' folders, which outlive the registry. */
import type { WorkerId } from '../core/ids.ts';
import type { Profile } from '../core/model/profile.ts';
import type { Session } from '../core/model/session.ts';
import type { WorkerProcess } from '../core/model/worker.ts';

export interface WarmRecord {
  readonly profile: Profile;
  /** null: the start was recorded, but not the process. */
  readonly process: WorkerProcess | null;
  /** true: no call may get this worker. It was about to end, or it is a LiveKit agent that already had a job. */
  readonly isSpent: boolean;
  /** The zygote that served at its start. Absent: none did. */
  readonly zygote?: WorkerId;
}

export interface WorkerRecords {
  list(): Promise<WorkerId[]>;
  /** The session at the worker's start, or at the last change of the record. null: there is no readable record. */
  read(id: WorkerId): Promise<{ session: Session; process: WorkerProcess | null } | null>;
  /** The start of a warm worker without a session. null: the worker is not warm. */
  readWarm(id: WorkerId): Promise<WarmRecord | null>;
}
