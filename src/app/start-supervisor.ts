/** Builds a supervisor from its adapters. Only files in src/app/ put adapters together. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { createProcessTable } from '../adapters/cleanup/host-processes.ts';
import { createPlanFiles } from '../adapters/cleanup/plan-files.ts';
import type { Config } from '../adapters/config/config.ts';
import { profileOf } from '../adapters/config/config.ts';
import type { LiveConfig } from '../adapters/config/live-config.ts';
import { liveConfig } from '../adapters/config/live-config.ts';
import { createChannels } from '../adapters/control/control-server.ts';
import { createDrainStore } from '../adapters/registry/drain-file.ts';
import { ensureAdminToken, openInstance, STATE_DIRS } from '../adapters/registry/instance-dir.ts';
import { openRegistry } from '../adapters/registry/registry-client.ts';
import type { Service } from '../adapters/systemd/systemd-service.ts';
import { createAudit } from '../adapters/telemetry/audit-file.ts';
import { createClock } from '../adapters/telemetry/boot-clock.ts';
import { createWorkerRecords } from '../adapters/worker/folder/folder-records.ts';
import { createWorkers } from '../adapters/worker/host-workers.ts';
import type { ReloadView } from '../api/host-schemas.ts';
import type { SupervisorApi } from '../api/supervisor-api.ts';
import { sessionId } from '../core/ids.ts';
import type { Actor } from '../core/model/session.ts';
import { messageOf } from '../lib/errors.ts';
import { armedFailpoint } from '../lib/failpoints.ts';
import { STATE_FILES } from '../lib/limits/storage-limits.ts';
import { CHANNEL } from '../lib/limits/worker-limits.ts';
import { writeFileSafelySync } from '../lib/safe-files.ts';
import type { Audit } from '../ports/audit.ts';
import type { Instance } from '../ports/instance.ts';
import type { Log } from '../ports/log.ts';
import type { Cgroups } from '../process/cgroup.ts';
import { openCgroups } from '../process/cgroup.ts';
import { isInContainer } from '../process/container.ts';
import { createHostMonitor } from '../process/load-reader.ts';
import { audited } from '../runtime/audited-api.ts';
import { startTasks } from '../runtime/scheduled-tasks.ts';
import { Supervisor } from '../runtime/supervisor.ts';
import type { SupervisorDeps } from '../runtime/supervisor-deps.ts';
import { closeLiveKit, livekitParts } from './livekit-parts.ts';

export interface Running {
  readonly supervisor: Supervisor;
  /** The supervisor with an audit. Requests of persons go through it, so that the audit file has each change. */
  readonly api: SupervisorApi;
  readonly audit: Audit;
  readonly log: Log;
  /** null: no listener on TCP. */
  readonly httpPort: number | null;
  readonly config: LiveConfig;
  /** Releases every session within `shutdown.timeout`, then closes all parts. `left`: sessions with a live worker. */
  stop(by: Actor): Promise<{ left: number }>;
  /** Closes all parts and ends no session. */
  leave(): Promise<void>;
}

interface StartOptions {
  /** false: no HTTP API. */
  readonly listeners: boolean;
  readonly log: Log;
  /** Reads the config from its file again. null: there is no file. */
  readonly reread: (() => Config) | null;
  /** The registry's thread, started early. null or absent: the registry starts its own. */
  readonly registryThread?: Worker | null;
  /** Runs around a reload. */
  readonly around?: Service['reloading'];
}

/** Rejects when a part cannot be opened. Then all opened parts are closed, and no call ends. */
export async function startSupervisor(config: Config, options: StartOptions): Promise<Running> {
  const undo: Undo[] = [];
  try {
    return await open(config, options, undo);
  } catch (error) {
    await closeAll(undo, options.log);
    throw error;
  }
}

/** Closes one part. The last opened part closes first. */
type Undo = () => unknown;

/** Closes the other parts even if one part fails to close. */
async function closeAll(undo: Undo[], log: Log): Promise<void> {
  for (const one of undo.splice(0).reverse()) {
    try {
      await one();
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'a part could not be closed');
    }
  }
}

async function open(config: Config, options: StartOptions, undo: Undo[]): Promise<Running> {
  const { listeners, log, reread, registryThread = null, around = (work) => work() } = options;
  const live = liveConfig(config, { read: reread ?? (() => config), log });
  const clock = createClock();
  const { instance, release } = openInstance(config.stateDir);
  undo.push(release);
  // In parallel: the registry's thread opens the database while this thread loads the HTTP modules.
  const [registry, { createHttpListeners }] = await Promise.all([
    openRegistry({ stateDir: config.stateDir, log, thread: registryThread }),
    import('../http/listeners.ts'),
  ]);
  undo.push(() => registry.close());
  const channels = createChannels({ instance, log, socketPath: join(config.stateDir, CHANNEL.socketName) });
  const livekit = await livekitParts(config, { instance, clock, log, current: live.current });
  const { rooms } = livekit;
  const reload = reread === null ? null : () => around(live.reload);
  const cgroups = cgroupsFor(config, instance, log);
  undo.push(() => cgroups?.close());
  const parts = { instance, clock, log, registry, channels, ...livekit };
  const supervisor = makeSupervisor(parts, { live, reload, cgroups });
  const audit = createAudit(config.stateDir, log);
  const api = audited(supervisor, audit, (id) => supervisor.sessions.state(sessionId(id)));
  const admin = { name: 'admin', token: ensureAdminToken(config.stateDir), scopes: ['admin'] as const };
  const http = createHttpListeners({
    api,
    log,
    listen: config.listen,
    tokens: [admin, ...config.api.tokens],
  });
  undo.push(
    () => Promise.allSettled([http.close(), channels.close(), closeLiveKit(livekit)]),
    () => supervisor.leave(),
  );
  // In parallel: the supervisor first waits for the registry's thread, so the preparation costs no time.
  await Promise.all([supervisor.start(), listeners ? http.prepare() : null]);
  const { port } = listeners ? await http.listen() : { port: null };
  undo.push(startTasks(supervisor, { clock, log }));
  if (rooms === null)
    log.warn(
      {},
      'no LiveKit is configured: curfew sees no callers, so no session ends because callers are gone',
    );
  const failpoint = armedFailpoint();
  if (failpoint !== null)
    log.error({ failpoint }, 'a failpoint is armed: this supervisor kills itself at that point');
  log.info(
    { instance: instance.id, pid: process.pid, socket: listeners ? config.listen.socket : null, port },
    'curfew is up',
  );
  return {
    supervisor,
    api,
    audit,
    log,
    httpPort: port,
    config: live,
    leave: () => closeAll(undo, log),
    stop: async (by) => {
      const stopped = await supervisor.stop(live.current().shutdown.timeoutMs, by);
      await closeAll(undo, log);
      return stopped;
    },
  };
}

type Parts = Pick<
  SupervisorDeps,
  'instance' | 'clock' | 'log' | 'registry' | 'channels' | 'rooms' | 'jobs' | 'standIn'
>;

/** Getters read the values that a reload can change from the current config. */
function makeSupervisor(
  parts: Parts,
  more: { live: LiveConfig; reload: (() => Promise<ReloadView>) | null; cgroups: Cgroups | null },
): Supervisor {
  const { live, reload, cgroups } = more;
  const { instance, clock, log } = parts;
  const config = live.current();
  const logsTotalBytes = () => live.current().retention.logsTotalBytes;
  const forward = config.logs.forward ?? (isInContainer() ? 'stdout' : 'off');
  const temp = { dir: config.tempDir, maxBytes: config.tempMaxBytes };
  return new Supervisor({
    ...parts,
    makeWorkers: (listener) =>
      createWorkers({ instance, listener, clock, log, cgroups, temp, logsTotalBytes, forward }),
    table: createProcessTable({
      instanceId: instance.id,
      clock,
      cgroups,
      livekitUrl: config.livekit?.url ?? null,
      stateDirs: STATE_DIRS,
    }),
    drainStore: createDrainStore(config.stateDir, log),
    plans: createPlanFiles(join(config.stateDir, STATE_FILES.plans)),
    records: createWorkerRecords(instance.workersDir),
    cleanup: config.sweep,
    host: hostname(),
    newId: () => randomBytes(10).toString('hex'),
    hostMonitor: createHostMonitor(),
    ...(reload === null ? {} : { reload }),
    get limits() {
      return live.current().limits;
    },
    get agents() {
      return Object.keys(live.current().agents);
    },
    profileOf: (agent) => profileOf(live.current(), agent),
    get retention() {
      return live.current().retention;
    },
  });
}

function cgroupsFor(config: Config, instance: Instance, log: Log): Cgroups | null {
  if (config.cgroups === 'off') return null;
  const cgroups = openCgroups(instance.id);
  if (!('unavailable' in cgroups)) {
    // For a cleanup without a supervisor: its process is in another cgroup and cannot derive the path.
    const path = join(config.stateDir, STATE_FILES.cgroup);
    try {
      writeFileSafelySync(path, `${cgroups.path}\n`);
    } catch (error) {
      log.warn(
        { path, error: messageOf(error) },
        'the path of the cgroups could not be written: a cleanup without a supervisor will not find them',
      );
    }
    return cgroups;
  }
  log.info(
    { why: cgroups.unavailable },
    'workers run without cgroups: curfew finds their processes by process group and mark, and samples memory',
  );
  return null;
}
