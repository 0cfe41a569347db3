/** The ports and settings of a supervisor. `src/app/` puts the adapters in. */
import type { ReloadView } from '../api/host-schemas.ts';
import type { AdmissionLimits } from '../core/admission/quotas.ts';
import type { Profile } from '../core/model/profile.ts';
import type { Channels } from '../ports/channels.ts';
import type { CleanupPlans } from '../ports/cleanup-plans.ts';
import type { Clock } from '../ports/clock.ts';
import type { DrainStore } from '../ports/drain-store.ts';
import type { HostMonitor } from '../ports/host-monitor.ts';
import type { Instance } from '../ports/instance.ts';
import type { Jobs } from '../ports/jobs.ts';
import type { Log } from '../ports/log.ts';
import type { ProcessTable } from '../ports/process-table.ts';
import type { Registry } from '../ports/registry.ts';
import type { Rooms } from '../ports/rooms.ts';
import type { StandIn } from '../ports/stand-in.ts';
import type { WorkerRecords } from '../ports/worker-records.ts';
import type { Workers, WorkersListener } from '../ports/workers.ts';

export interface SupervisorDeps {
  readonly instance: Instance;
  readonly clock: Clock;
  readonly log: Log;
  readonly registry: Registry;
  readonly channels: Channels;
  /** null: no LiveKit, so no agents with `protocol: livekit`. */
  readonly standIn: StandIn | null;
  /** null: no LiveKit is configured, so no presence. */
  readonly rooms: Rooms | null;
  /** null: no agent is offered to LiveKit's own dispatch. */
  readonly jobs: Jobs | null;
  readonly makeWorkers: (listener: WorkersListener) => Workers;
  /** For the cleanup. */
  readonly table: ProcessTable;
  readonly plans: CleanupPlans;
  readonly drainStore: DrainStore;
  readonly records: WorkerRecords;
  readonly cleanup: { readonly unmanaged: readonly string[]; readonly graceMs: number };
  readonly host: string;
  /** A random id, for sessions without an id from the client. */
  readonly newId: () => string;
  /** Reads the config again. The values below are then those of the new config. Rejects invalid_config, and the old config stays. */
  readonly reload?: () => Promise<ReloadView>;
  /** Absent: the host's load holds no call back. */
  readonly hostMonitor?: HostMonitor;
  readonly limits: AdmissionLimits;
  /** The names of the configured agents. */
  readonly agents: readonly string[];
  readonly profileOf: (agent: string) => Profile | null;
  readonly retention: { readonly sessionsMs: number; readonly logsMs: number };
}
