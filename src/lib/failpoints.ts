/**
 * Places where a test lets the supervisor die. Only with CURFEW_TEST=1, and CURFEW_FAILPOINT=NAME or NAME:N for the N-th visit;
 * else each costs one comparison.
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

type Failpoint = (typeof FAILPOINTS)[number];

const [armed, nth] = process.env.CURFEW_TEST === '1' ? (process.env.CURFEW_FAILPOINT ?? '').split(':') : [];
let left = Number(nth ?? 1);

/** The name of the point that is armed; for a loud word at the start. */
export function armedFailpoint(): string | null {
  return armed === undefined || armed === '' ? null : armed;
}

/** Dies here at once, as by `kill -9`: nothing after it happens. */
export function failpoint(name: Failpoint): void {
  if (armed !== name) return;
  left -= 1;
  if (left > 0) return;
  process.kill(process.pid, 'SIGKILL');
  // The signal comes when the kernel likes; until then nothing may go on.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}
