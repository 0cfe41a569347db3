/** The options of the Workers adapter. */
import type { Clock } from '../../ports/clock.ts';
import type { Instance } from '../../ports/instance.ts';
import type { Log } from '../../ports/log.ts';
import type { WorkersListener } from '../../ports/workers.ts';
import type { Environment } from '../../process/base-environment.ts';
import type { Cgroups } from '../../process/cgroup.ts';
import type { ForwardTarget } from './forward/forwarder.ts';

export interface WorkersOptions {
  readonly instance: Instance;
  readonly listener: WorkersListener;
  readonly clock: Clock;
  readonly log: Log;
  /** The supervisor's own environment. Workers get a few variables of it. */
  readonly env?: Environment;
  readonly logs?: { readonly headBytes: number; readonly tailBytes: number; readonly hardBytes: number };
  readonly sampleMs?: number;
  /** `null`: no cgroups here. Then process group and mark find a worker's processes, and samples measure memory. */
  readonly cgroups?: Cgroups | null;
  /** The value of `retention.logs_total` now. Absent: no bound. */
  readonly logsTotalBytes?: () => number;
  /** Where the workers' temporary folders are made. `null`: nowhere. */
  readonly temp?: { readonly dir: string; readonly maxBytes: number } | null;
  /** Where the lines of workers go, besides their log files. Absent: nowhere. */
  readonly forward?: 'off' | ForwardTarget;
}
