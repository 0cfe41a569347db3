/** Samples the host's load in turn and passes it to admission. */
import { ADMISSION } from '../../lib/limits/session-limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { HostMonitor } from '../../ports/host-monitor.ts';
import type { AdmissionGate } from './admission-gate.ts';

/** Samples until the returned function is called. */
export function watchLoad(
  monitor: HostMonitor,
  { clock, admission }: { clock: Clock; admission: AdmissionGate },
) {
  const next = () => clock.at(clock.now().bootMs + ADMISSION.sampleMs, tick);
  let cancel = next();
  function tick(): void {
    admission.sampled(monitor.sample());
    cancel = next();
  }
  return () => cancel();
}
