/** A cleanup without a supervisor: it reads the registry and the workers' folders, and uses the same rules. */
import { accessSync, constants, existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createProcessTable } from '../adapters/cleanup/host-processes.ts';
import { createPlanFiles } from '../adapters/cleanup/plan-files.ts';
import type { Config } from '../adapters/config/config.ts';
import { isSupervised, readInstanceId, STATE_DIRS } from '../adapters/registry/instance-dir.ts';
import { openRegistryReader } from '../adapters/registry/registry-reader.ts';
import { createAudit } from '../adapters/telemetry/audit-file.ts';
import { createClock } from '../adapters/telemetry/boot-clock.ts';
import { createLog } from '../adapters/telemetry/pino-log.ts';
import { createWorkerRecords } from '../adapters/worker/folder/folder-records.ts';
import { removeLeftFolders } from '../adapters/worker/temp/temp-cleanup.ts';
import { TempFolders } from '../adapters/worker/temp/temp-folders.ts';
import type { CleanupRequest, CleanupView } from '../api/cleanup-api.ts';
import { cleanupRequestSchema } from '../api/cleanup-api.ts';
import type { InstanceId } from '../core/ids.ts';
import { CurfewError } from '../lib/errors.ts';
import { STATE_FILES } from '../lib/limits/storage-limits.ts';
import { FILES } from '../lib/limits/worker-limits.ts';
import { readFileSafelySync } from '../lib/safe-files.ts';
import { userName } from '../lib/user-name.ts';
import type { Log } from '../ports/log.ts';
import type { Cgroups } from '../process/cgroup.ts';
import { cgroupsAt, isGroupOf } from '../process/cgroup.ts';
import { createProcTable } from '../process/proc-files.ts';
import { createScanner } from '../process/process-scan.ts';
import { cleanupTargets, note } from '../runtime/audited-api.ts';
import { CleanupRunner } from '../runtime/cleanup/cleanup-runner.ts';
import { recordedSessions } from '../runtime/cleanup/cleanup-source.ts';

/** Discards log lines, because the answer already has every remark. */
const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Rejects `invalid_config` when this user cannot read the state directory, `invalid_request` when a field is wrong. */
export async function cleanup(config: Config, request: CleanupRequest): Promise<CleanupView> {
  const parsed = cleanupRequestSchema.safeParse(request);
  if (!parsed.success)
    throw new CurfewError('invalid_request', parsed.error.issues.map((one) => one.message).join('; '));
  const { stateDir, livekit, sweep } = config;
  checkAccess(stateDir);
  const instanceId = readInstanceId(stateDir);
  const reader =
    instanceId === null
      ? {
          unreadable: `there is no state directory of curfew at ${stateDir}: only processes that curfew did not start are listed`,
        }
      : openRegistryReader(stateDir);
  const clock = createClock();
  const records = createWorkerRecords(join(stateDir, STATE_FILES.workers));
  const runner = new CleanupRunner({
    table: createProcessTable({
      instanceId,
      clock,
      cgroups: instanceId === null ? null : groupsOf(instanceId, stateDir),
      livekitUrl: livekit?.url ?? null,
      stateDirs: STATE_DIRS,
    }),
    plans: createPlanFiles(instanceId === null ? ownPlans() : join(stateDir, STATE_FILES.plans)),
    source: recordedSessions({ reader, records, supervised: isSupervised(stateDir) }),
    clock,
    log: SILENT,
    bootId: readText('/proc/sys/kernel/random/boot_id') ?? '',
    patterns: sweep.unmanaged,
    graceMs: sweep.graceMs,
  });
  try {
    const work = () => runner.run(parsed.data);
    if (parsed.data.dryRun || instanceId === null) return await work();
    const view = await audited(stateDir, parsed.data, work);
    await removeTempFolders(config, instanceId);
    return view;
  } finally {
    if (!('unreadable' in reader)) reader.close();
  }
}

/** A running supervisor does it itself. */
async function removeTempFolders({ stateDir, tempDir }: Config, instanceId: InstanceId): Promise<void> {
  if (isSupervised(stateDir)) return;
  const scanner = createScanner(createProcTable(), `CURFEW_WORKER=${instanceId}/`);
  const temp = new TempFolders({
    tempDir,
    owner: { instance: instanceId, stateDir, place: '' },
    log: SILENT,
  });
  await removeLeftFolders({ temp, scanner, cgroups: groupsOf(instanceId, stateDir), known: () => [] });
  await temp.close();
}

/** Writes to the audit file what this user ended, as a supervisor does. */
function audited(
  stateDir: string,
  request: CleanupRequest,
  work: () => Promise<CleanupView>,
): Promise<CleanupView> {
  const audit = createAudit(stateDir, createLog({ level: 'error', format: 'text' }));
  const who = { actor: userName(), verified: false, source: 'cli' } as const;
  return note({ audit, action: 'cleanup', request, who }, work, cleanupTargets);
}

function checkAccess(stateDir: string): void {
  if (!existsSync(stateDir)) return;
  try {
    accessSync(stateDir, constants.R_OK | constants.X_OK);
  } catch {
    throw new CurfewError(
      'invalid_config',
      `state_dir: this user may not read "${stateDir}"; run the command as the user of the supervisor`,
      { path: stateDir },
    );
  }
}

/** Folder for plans where there is no state directory. */
function ownPlans(): string {
  return join(process.env.XDG_STATE_HOME ?? join(homeDir(), '.local', 'state'), 'curfew', STATE_FILES.plans);
}

function homeDir(): string {
  try {
    return homedir();
  } catch {
    throw new CurfewError(
      'invalid_config',
      'HOME: this user has no home folder for the plan of a cleanup; set HOME or XDG_STATE_HOME',
    );
  }
}

/** null: there is no such file, or it names a cgroup that does not belong to the instance. */
export function groupsOf(id: InstanceId, stateDir: string): Cgroups | null {
  const path = readText(join(stateDir, STATE_FILES.cgroup));
  return path !== null && isGroupOf(path, { instanceId: id }) ? cgroupsAt(path) : null;
}

function readText(path: string): string | null {
  try {
    return readFileSafelySync(path, FILES.smallBytes, 'followed').trim();
  } catch {
    return null;
  }
}
