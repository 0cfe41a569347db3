/** Finds out whether a SIGTERM from systemd means a stop or a restart of our unit. Source: the job that systemd runs. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { SYSTEMD } from '../../lib/limits/service-limits.ts';
import type { Env } from './sd-notify.ts';

export interface Unit {
  readonly name: string;
  /** True: the unit belongs to a user's systemd, not to the host's. */
  readonly ofUser: boolean;
}

/**
 * `null`: systemd did not start this process.
 * NOTIFY_SOCKET and similar variables are no proof, because every program of a login session inherits them.
 */
export function findUnit(env: Env, pid: number): Unit | null {
  if (env.CURFEW_UNIT === undefined && env.SYSTEMD_EXEC_PID !== String(pid)) return null;
  const own = unitOfCgroups(readFileSync('/proc/self/cgroup', 'utf8'));
  if (env.CURFEW_UNIT === undefined) return own;
  return { name: env.CURFEW_UNIT, ofUser: own?.ofUser ?? false };
}

/** The innermost service in the text of /proc/PID/cgroup. Our own subgroups may follow below it. */
export function unitOfCgroups(text: string): Unit | null {
  const paths = text.split('\n').flatMap((line) => /^\d+:(?:name=systemd)?:(.*)$/.exec(line)?.[1] ?? []);
  const services = paths.map((path) => path.split('/').filter((part) => part.endsWith('.service')));
  const name = services.find((one) => one.length > 0)?.at(-1);
  if (name === undefined) return null;
  return { name, ofUser: services.some((one) => one.length > 1 && /^user@\d+\.service$/.test(one[0] ?? '')) };
}

export type Job = 'stop' | 'restart';

/** `null`: no job, or no answer within the bound. A shutdown of the host is a stop. */
export function askJob({ name, ofUser }: Unit): Promise<Job | null> {
  const args = [...(ofUser ? ['--user'] : []), 'list-jobs', '--no-legend', '--full', name];
  return new Promise((resolve) => {
    execFile('systemctl', args, { timeout: SYSTEMD.jobMs, killSignal: 'SIGKILL' }, (error, stdout) =>
      resolve(error === null ? jobOf(stdout, name) : null),
    );
  });
}

/** `text` has lines of the form `ID UNIT TYPE STATE`. */
export function jobOf(text: string, unit: string): Job | null {
  for (const line of text.split('\n')) {
    const [, name, type] = line.trim().split(/\s+/);
    if (name === unit && (type === 'stop' || type === 'restart')) return type;
  }
  return null;
}
