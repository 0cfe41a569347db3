/** What the Workers adapter is made of. */
import type { Clock, Instance, Log, WorkersListener } from '../ports.ts';
import type { Cgroups } from '../process/cgroup.ts';
import type { Environment } from '../process/environment.ts';

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
