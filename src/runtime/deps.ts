/** What a supervisor is made of. main.ts puts the adapters in. */
import type { ReloadView } from '../api.ts';
import type { Profile } from '../core/profile.ts';
import type { AdmissionLimits } from '../core/quota.ts';
import type {
  Channels,
  Clock,
  Instance,
  Log,
  Registry,
  Rooms,
  StandIn,
  WorkerRecords,
  Workers,
  WorkersListener,
} from '../ports.ts';
import type { Jobs } from '../ports-jobs.ts';
import type { DrainStore, Plans, ProcessTable } from '../ports-upkeep.ts';

export interface SupervisorDeps {
  readonly instance: Instance;
  readonly clock: Clock;
  readonly log: Log;
  readonly registry: Registry;
  readonly channels: Channels;
  /** null: no LiveKit, so no agents made for it. */
  readonly standIn: StandIn | null;
  /** null: no LiveKit is configured, so no presence. */
  readonly rooms: Rooms | null;
  /** null: no agent is offered to LiveKit's own dispatch. */
  readonly jobs: Jobs | null;
  readonly makeWorkers: (listener: WorkersListener) => Workers;
  /** For the sweep. */
  readonly table: ProcessTable;
  readonly plans: Plans;
  readonly drainStore: DrainStore;
  readonly records: WorkerRecords;
  readonly sweep: { readonly unmanaged: readonly string[]; readonly graceMs: number };
  readonly host: string;
  /** Random, for sessions to which the client gave no id of its own. */
  readonly newId: () => string;
  /** Reads the config again; what follows here is then the new one's. Rejects invalid_config, and all stays as it was. */
  readonly reload?: () => Promise<ReloadView>;
  readonly limits: AdmissionLimits;
  /** The names of the configured agents. */
  readonly agents: readonly string[];
  readonly profileOf: (agent: string) => Profile | null;
  readonly retention: { readonly sessionsMs: number; readonly logsMs: number };
}
