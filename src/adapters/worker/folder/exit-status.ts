/** Reads the exit status of a worker, as the shim's shell encodes it. */
import { constants } from 'node:os';
import type { Stamp } from '../../../core/ids.ts';
import type { ExitInfo } from '../../../core/model/worker.ts';
import { oomKills } from '../../../process/cgroup.ts';

type ExitStatus = Pick<ExitInfo, 'code' | 'signal'>;

const UNKNOWN_STATUS: ExitStatus = { code: null, signal: null };

/** A shell adds this to the number of the signal that killed its command. */
const SIGNAL_BASE = 128;
const LAST_REALTIME = 64;

/** The first name of each number is the usual one (SIGABRT, not SIGIOT). */
const SIGNAL_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.signals)
    .map(([name, number]): [number, string] => [number, name])
    .reverse(),
);

/** For 129 to 159 the shell's status is ambiguous: an exit code or a signal. A signal is far more likely. */
export function statusOf(shellStatus: number): ExitStatus {
  const number = shellStatus - SIGNAL_BASE;
  if (number === LAST_REALTIME) return { code: null, signal: 'SIGRTMAX' };
  const signal = SIGNAL_NAMES.get(number);
  return signal === undefined ? { code: shellStatus, signal: null } : { code: null, signal };
}

/** `text` is that of a status file. Without its newline it is incomplete, and the status is unknown. */
export function parseStatus(text: string | null): ExitStatus {
  const match = /^(\d{1,3})\n$/.exec(text ?? '');
  return match ? statusOf(Number(match[1])) : UNKNOWN_STATUS;
}

/** The exit from a status file. `wallMs` is the time at which the shim wrote the file. */
export function exitFromFile(
  { text, wallMs }: { text: string; wallMs: number },
  now: Stamp,
  cgroup: string | null,
): ExitInfo {
  const agoMs = Math.max(0, now.wallMs - wallMs);
  return exitOf(parseStatus(text), { bootMs: now.bootMs - agoMs, wallMs: now.wallMs - agoMs }, cgroup);
}

export function exitOf(status: ExitStatus, at: Stamp, cgroup: string | null): ExitInfo {
  const exit = { ...status, at };
  return cgroup !== null && oomKills(cgroup) > 0 ? { ...exit, oomKilled: true } : exit;
}
