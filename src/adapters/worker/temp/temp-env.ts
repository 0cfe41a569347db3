/** The variables that send a worker's temporary files and metrics to its own folder. */
import type { Profile } from '../../../core/model/profile.ts';
import type { Environment } from '../../../process/base-environment.ts';

/** `host`: the supervisor's environment. `env`: the worker's other variables. */
export function tempEnv(
  folder: string,
  profile: Pick<Profile, 'env' | 'passEnv'>,
  { host, env }: { readonly host: Environment; readonly env: Environment },
): Record<string, string> {
  // The profile wins: by `env`, by a name in `pass_env`, or by any file of variables, which shows as another value.
  const isSet = profile.env.TMPDIR !== undefined || profile.passEnv.includes('TMPDIR');
  return isSet || env.TMPDIR !== host.TMPDIR ? {} : { TMPDIR: folder };
}
