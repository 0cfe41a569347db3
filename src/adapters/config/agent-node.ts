/** Asks the Node of an agent's command for its version, for a check of the config. */
import { spawnSync } from 'node:child_process';
import type { Profile } from '../../core/model/profile.ts';
import { STAND_IN } from '../../lib/limits/livekit-limits.ts';
import { workerEnvironment } from '../../process/base-environment.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** As the program prints it, such as `v20.9.0`. null: it gives no answer in time. */
export function nodeVersionOf(profile: Profile, host: Env): string | null {
  try {
    const [program = ''] = profile.command;
    const { PATH } = workerEnvironment({ host, profile, own: {} });
    const { stdout } = spawnSync(program, ['--version'], {
      cwd: profile.cwd ?? process.cwd(),
      env: { PATH },
      timeout: STAND_IN.nodeVersionMs,
      killSignal: 'SIGKILL',
      encoding: 'utf8',
    });
    return /^v\d[\w.+-]*/.exec(stdout ?? '')?.[0] ?? null;
  } catch {
    return null;
  }
}
