/**
 * Points at which a test kills the supervisor. They need CURFEW_TEST=1, and CURFEW_FAILPOINT=NAME, or NAME:N for the
 * N-th visit. Without these variables a point costs one comparison.
 */
export const FAILPOINTS = [
  // A dispatch.
  'dispatch.before-record',
  'dispatch.recorded',
  'spawn.before-folder',
  'spawn.folder-made',
  'spawn.shim-started',
  'spawn.command-runs',
  'spawn.before-recorded',
  // A teardown.
  'closing.before-record',
  'closing.recorded',
  'signal.before',
  'signal.after',
  'exit.seen',
  'tree.gone',
  'ended.before-record',
  'ended.recorded',
  // A start.
  'recovery.opened',
  'recovery.before-adoption',
  'recovery.adopted',
  'recovery.before-ready',
] as const;

/** The other one needs a LiveKit agent whose shutdown callbacks run, so it has a test of its own. */
type Failpoint = (typeof FAILPOINTS)[number] | 'claim.passed';

const [armed, nth] = process.env.CURFEW_TEST === '1' ? (process.env.CURFEW_FAILPOINT ?? '').split(':') : [];
let left = Number(nth ?? 1);

/** The name of the armed point, for an error in the log at the start. null: none is armed. */
export function armedFailpoint(): string | null {
  return armed === undefined || armed === '' ? null : armed;
}

/** Kills this process with SIGKILL if the point is armed. No code after the call runs then. */
export function failpoint(name: Failpoint): void {
  if (armed !== name) return;
  left -= 1;
  if (left > 0) return;
  process.kill(process.pid, 'SIGKILL');
  // Race: the kernel delivers the signal a moment later. Until then this thread must not go on.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}
