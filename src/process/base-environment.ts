/** Builds a worker's environment: a small base, the profile's variables, and curfew's own. */
import { readFileSync } from 'node:fs';
import type { Profile } from '../core/model/profile.ts';
import { CurfewError } from '../lib/errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const BASE = ['PATH', 'HOME', 'LANG', 'TZ', 'USER', 'LOGNAME', 'SHELL', 'TMPDIR'];
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Every worker starts through a shell. The shell silently drops a variable with any other name. */
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Later sources win: base, profile `env`, profile `passEnv`, the request's `own`.
 * The worker gets no other variable of the supervisor.
 * Throws spawn_failed for a name that the shell would drop.
 */
export function workerEnvironment(
  host: Environment,
  profile: Pick<Profile, 'env' | 'passEnv'>,
  own: Readonly<Record<string, string>>,
): Record<string, string> {
  const locale = Object.keys(host).filter((name) => name.startsWith('LC_'));
  const base = pick(host, [...BASE, ...locale]);
  const all = { PATH: DEFAULT_PATH, ...base, ...profile.env, ...pick(host, profile.passEnv), ...own };
  const bad = Object.keys(all).find((name) => !NAME.test(name));
  if (bad === undefined) return all;
  const variable = `the environment variable ${JSON.stringify(bad)}`;
  throw new CurfewError('spawn_failed', `${variable} has no valid name; use letters, digits and _`);
}

function pick(host: Environment, names: readonly string[]): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const name of names) {
    const value = host[name];
    if (value !== undefined) picked[name] = value;
  }
  return picked;
}

/** The supervisor's umask, in octal. It comes from /proc, because `process.umask()` sets it for a moment. */
export function ownUmask(): string {
  const status = readFileSync('/proc/self/status', 'latin1');
  return /^Umask:\s*([0-7]+)$/m.exec(status)?.[1] ?? '022';
}
