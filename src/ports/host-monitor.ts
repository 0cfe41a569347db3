/** Samples the load of this host. */
import type { HostSample } from '../core/admission/host-load.ts';

export interface HostMonitor {
  /** Since the last call. Cheap: it reads a few files of the kernel. Never throws. */
  sample(): HostSample;
}
