/** What a worker finds in its environment: a small base, what its profile gives and passes on, what curfew says. */
import { readFileSync } from 'node:fs';
import type { Profile } from '../core/model/profile.ts';
import { CurfewError } from '../lib/errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const BASE = ['PATH', 'HOME', 'LANG', 'TZ', 'USER', 'LOGNAME', 'SHELL', 'TMPDIR'];
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** A shell, which every worker is started through, silently drops what it could not name as a variable. */
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Later ones win: base, profile `env`, profile `passEnv`, the request's own. Nothing else of the supervisor's is passed on.
 * Throws spawn_failed for a name that cannot be passed on.
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
  throw new CurfewError('spawn_failed', `the environment variable ${JSON.stringify(bad)} has no valid name`);
}

function pick(host: Environment, names: readonly string[]): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const name of names) {
    const value = host[name];
    if (value !== undefined) picked[name] = value;
  }
  return picked;
}

/** Read, not set: `process.umask()` would change it for a moment. */
export function ownUmask(): string {
  const status = readFileSync('/proc/self/status', 'latin1');
  return /^Umask:\s*([0-7]+)$/m.exec(status)?.[1] ?? '022';
}
