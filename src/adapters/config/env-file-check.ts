/** Reads each `env_file` as a start of a worker will, so that a fault shows before a call. */
import type { Profile } from '../../core/model/profile.ts';
import { envFileFault } from '../../process/env-file.ts';

/** One sentence for each agent whose file cannot be read. No sentence shows a value. */
export function envFileFaults(profiles: readonly Pick<Profile, 'agent' | 'envFile'>[]): string[] {
  return profiles.flatMap(({ agent, envFile }) => {
    const fault = envFile == null ? null : envFileFault(envFile);
    return fault === null ? [] : [`agents.${agent}.${fault}; no worker can start until then`];
  });
}
