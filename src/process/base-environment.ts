/** Builds a worker's environment: a small base, the profile's variables, and curfew's own. */
import { readFileSync } from 'node:fs';
import type { Profile } from '../core/model/profile.ts';
import { accessOf } from '../core/model/profile.ts';
import { CurfewError } from '../lib/errors.ts';
import { RUN, WITHHELD_PREFIXES } from '../lib/limits/service-limits.ts';
import { ENV_NAME } from './env-name.ts';

export type Environment = Readonly<Record<string, string | undefined>>;
type Variables = Readonly<Record<string, string>>;

const BASE = ['PATH', 'HOME', 'LANG', 'TZ', 'USER', 'LOGNAME', 'SHELL', 'TMPDIR'];
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface EnvironmentSources {
  /** The supervisor's own environment. */
  readonly host: Environment;
  readonly profile: Pick<Profile, 'env' | 'passEnv' | 'passAll' | 'protocol' | 'livekitAccess'>;
  /** The variables of the profile's `env_file`, which its reader has checked. */
  readonly file?: Variables;
  /** curfew's own variables. */
  readonly own: Variables;
  /** More of curfew's variables, made from all others. */
  readonly envFrom?: ((given: Variables) => Variables) | undefined;
}

/**
 * Later sources win: base, the whole environment where the profile passes it, env_file, `env`, `pass_env` by name, curfew's own.
 * The worker gets no other variable of the supervisor.
 * Throws spawn_failed for a name that the shell would drop, or a value that no process can have. The error holds no value.
 */
export function workerEnvironment({
  host,
  profile,
  file = {},
  own,
  envFrom,
}: EnvironmentSources): Record<string, string> {
  const locale = Object.keys(host).filter((name) => name.startsWith('LC_'));
  const base = pick(host, [...BASE, ...locale]);
  const whole = profile.passAll === true ? pick(host, Object.keys(host).filter(isPassed(profile))) : {};
  const given = {
    PATH: DEFAULT_PATH,
    ...base,
    ...whole,
    ...file,
    ...profile.env,
    ...pick(host, profile.passEnv),
  };
  const all = { ...given, ...own, ...envFrom?.(given) };
  for (const [name, value] of Object.entries(all)) {
    const fault = faultOf(name, value);
    if (fault !== null)
      throw new CurfewError('spawn_failed', `the environment variable ${JSON.stringify(name)} ${fault}`);
  }
  return all;
}

function faultOf(name: string, value: string): string | null {
  if (!ENV_NAME.test(name)) return 'has no valid name: use letters, digits and _';
  return value.includes('\0') ? 'has a NUL byte in its value; remove it' : null;
}

/**
 * Whether `pass_env: ["*"]` passes the variable: not what curfew and systemd use for themselves, and no name that the shell
 * would drop, such as BASH_FUNC_x%%. A profile that grants the room alone gets nothing of LiveKit.
 */
function isPassed(profile: EnvironmentSources['profile']): (name: string) => boolean {
  const withheld = new Set([...RUN.withheldEnv, ...RUN.systemdEnv]);
  const isRoomOnly = profile.protocol === 'livekit' && accessOf(profile) !== 'full';
  const prefixes = [...WITHHELD_PREFIXES, ...(isRoomOnly ? ['LIVEKIT_'] : [])];
  return (name) =>
    ENV_NAME.test(name) && !withheld.has(name) && !prefixes.some((prefix) => name.startsWith(prefix));
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
