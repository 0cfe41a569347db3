/** What the Workers adapter is made of. */
import type { Clock } from '../../ports/clock.ts';
import type { Instance } from '../../ports/instance.ts';
import type { Log } from '../../ports/log.ts';
import type { WorkersListener } from '../../ports/workers.ts';
import type { Environment } from '../../process/base-environment.ts';
import type { Cgroups } from '../../process/cgroup.ts';

export interface WorkersOptions {
  readonly instance: Instance;
  readonly listener: WorkersListener;
  readonly clock: Clock;
  readonly log: Log;
  /** The supervisor's own environment, of which workers get a little. */
  readonly env?: Environment;
  readonly logs?: { readonly headBytes: number; readonly tailBytes: number; readonly hardBytes: number };
  readonly sampleMs?: number;
  /** Null: none may be made here; then process group, mark and samples. */
  readonly cgroups?: Cgroups | null;
}
