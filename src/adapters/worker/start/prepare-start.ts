/** Prepares a start: program, folder, record and cgroup. All this can fail before a process exists. */
import { failpoint } from '../../../lib/failpoints.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { Instance } from '../../../ports/instance.ts';
import type { SpawnRequest } from '../../../ports/workers.ts';
import type { Environment } from '../../../process/base-environment.ts';
import { workerEnvironment } from '../../../process/base-environment.ts';
import type { Cgroups } from '../../../process/cgroup.ts';
import { readEnvFile } from '../../../process/env-file.ts';
import { findCommand } from '../../../process/worker-command.ts';
import type { WorkerFolder } from '../folder/worker-folder.ts';
import { makeFolder, writeCgroup, writeRecord } from '../folder/worker-folder.ts';
import { tempEnv } from '../temp/temp-env.ts';
import type { TempFolders } from '../temp/temp-folders.ts';
import type { StartPlan } from './spawn-shim.ts';

/** The values that all starts of this supervisor share. */
export interface StartHost {
  readonly instance: Instance;
  readonly environment: Environment;
  readonly umask: string;
  readonly cgroups: Cgroups | null;
  /** The cgroup of shims, which is the supervisor's own. `null`: workers have no cgroups. */
  readonly shimCgroup: string | null;
  readonly maxFileBytes: number;
  /** `null`: workers share the supervisor's TMPDIR. */
  readonly temp: TempFolders | null;
}

/** Rejects spawn_failed for the program or the environment, and errors of the file system. */
export async function planStart(
  { profile, workerId, env: own, envFrom, shared, record }: SpawnRequest,
  folder: WorkerFolder,
  host: StartHost,
): Promise<StartPlan> {
  const { instance, environment, umask, cgroups, maxFileBytes } = host;
  failpoint('spawn.before-folder');
  const mark = { CURFEW_WORKER: `${instance.id}/${workerId}` };
  const file = profile.envFile == null ? {} : await readEnvFile(profile.envFile);
  const base = workerEnvironment({
    host: environment,
    profile,
    file,
    own: { ...own, ...mark, ...shared },
    envFrom,
  });
  const temp = profile.tmp === 'worker' ? ((await host.temp?.make(workerId)) ?? null) : null;
  const env =
    temp === null ? base : { ...base, ...(await tempEnv(temp, profile, { host: environment, env: base })) };
  const cwd = profile.cwd ?? process.cwd();
  const [name, ...args] = profile.command;
  const [program] = await Promise.all([
    findCommand({ command: name, path: env.PATH ?? '', cwd }),
    makeFolder(folder).then(() => writeRecord(folder, record)),
  ]);
  failpoint('spawn.folder-made');
  const { memoryBytes, cpuPercent } = profile;
  const cgroup = cgroups?.make(workerId, { memoryBytes, cpuPercent, pids: WORKERS.pidsMax }) ?? null;
  if (cgroup !== null) await writeCgroup(folder, cgroup);
  return { folder, command: [program, ...args], cwd, env, umask, maxFileBytes, cgroup };
}
