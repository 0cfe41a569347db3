/** The variables that send a worker's temporary files and metrics to its own folder. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Profile } from '../../../core/model/profile.ts';
import { METRICS } from '../../../lib/limits/metric-limits.ts';
import type { Environment } from '../../../process/base-environment.ts';

const METRICS_DIR = 'PROMETHEUS_MULTIPROC_DIR';

/** `host`: the supervisor's environment. `env`: the worker's other variables. */
export async function tempEnv(
  folder: string,
  profile: Pick<Profile, 'env' | 'passEnv' | 'protocol'>,
  { host, env }: { readonly host: Environment; readonly env: Environment },
): Promise<Record<string, string>> {
  // The profile wins: by `env`, by a name in `pass_env`, or by any file of variables, which shows as another value.
  const isSet = profile.env.TMPDIR !== undefined || profile.passEnv.includes('TMPDIR');
  const own = isSet || env.TMPDIR !== host.TMPDIR ? {} : { TMPDIR: folder };
  return { ...own, ...(await metricsEnv(folder, profile, env)) };
}

/** The framework's main process empties the folder of its metrics at its start, so each worker has one of its own. */
async function metricsEnv(
  folder: string,
  { protocol }: Pick<Profile, 'protocol'>,
  env: Environment,
): Promise<Record<string, string>> {
  if (
    protocol !== 'livekit' ||
    env[METRICS_DIR] !== undefined ||
    env[METRICS_DIR.toLowerCase()] !== undefined
  )
    return {};
  const path = join(folder, METRICS.folder);
  await mkdir(path, { recursive: true, mode: 0o700 });
  return { [METRICS_DIR]: path };
}
