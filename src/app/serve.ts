/** Puts a supervisor together from its adapters, and runs it as `serve` and `dev`. Loaded by main.ts when needed. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createProcessTable } from '../adapters/cleanup/host-processes.ts';
import { createPlanFiles } from '../adapters/cleanup/plan-files.ts';
import type { Config } from '../adapters/config/config.ts';
import { profileOf } from '../adapters/config/config.ts';
import type { LiveConfig } from '../adapters/config/live-config.ts';
import { liveConfig } from '../adapters/config/live-config.ts';
import { createChannels } from '../adapters/control/control-server.ts';
import { createDrainStore } from '../adapters/registry/drain-file.ts';
import { ensureAdminToken, openInstance } from '../adapters/registry/instance-dir.ts';
import { openRegistry } from '../adapters/registry/registry-client.ts';
import type { Service } from '../adapters/systemd/systemd-service.ts';
import { createService } from '../adapters/systemd/systemd-service.ts';
import { createAudit } from '../adapters/telemetry/audit-file.ts';
import { createClock } from '../adapters/telemetry/boot-clock.ts';
import { createLog } from '../adapters/telemetry/pino-log.ts';
import { createWorkerRecords } from '../adapters/worker/folder/folder-records.ts';
import { createWorkers } from '../adapters/worker/host-workers.ts';
import type { CapacityView, ReloadView } from '../api/host-schemas.ts';
import type { SupervisorApi } from '../api/supervisor-api.ts';
import { sessionId } from '../core/ids.ts';
import type { Actor } from '../core/model/session.ts';
import { messageOf } from '../lib/errors.ts';
import { armedFailpoint } from '../lib/failpoints.ts';
import { DRAIN } from '../lib/limits/service-limits.ts';
import { STATE_FILES } from '../lib/limits/storage-limits.ts';
import { CHANNEL } from '../lib/limits/worker-limits.ts';
import { writeFileSafelySync } from '../lib/safe-files.ts';
import type { Audit } from '../ports/audit.ts';
import type { Instance } from '../ports/instance.ts';
import type { Log } from '../ports/log.ts';
import type { Cgroups } from '../process/cgroup.ts';
import { openCgroups } from '../process/cgroup.ts';
import { audited, stopEntry } from '../runtime/audited-api.ts';
import { startTasks } from '../runtime/scheduled-tasks.ts';
import { Supervisor } from '../runtime/supervisor.ts';
import type { SupervisorDeps } from '../runtime/supervisor-deps.ts';
import { closeLiveKit, livekitParts } from './livekit-parts.ts';

interface Running {
  readonly supervisor: Supervisor;
  /** What a person does goes through here, and is written down. */
  readonly api: SupervisorApi;
  readonly audit: Audit;
  readonly log: Log;
  readonly httpPort: number | null;
  readonly config: LiveConfig;
  /** Releases every session inside the configured bound, then closes everything. */
  stop(by: Actor): Promise<{ left: number }>;
  /** Closes everything and ends no session. */
  leave(): Promise<void>;
}

interface StartOptions {
  readonly faces: boolean;
  readonly log: Log;
  /** The config once more, from its file; null: there is none. */
  readonly reread: (() => Config) | null;
  readonly around?: Service['reloading'];
}

/** Rejects when something of it cannot be opened; then everything is let go again, and no call is ended. */
export async function start(config: Config, options: StartOptions): Promise<Running> {
  const undo: Undo[] = [];
  try {
    return await open(config, options, undo);
  } catch (error) {
    await closeAll(undo, options.log);
    throw error;
  }
}

/** Lets one part go again; the last that was opened comes first. */
type Undo = () => unknown;

/** A part that cannot be closed keeps none of the others open. */
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
  const { faces, log, reread, around = (work) => work() } = options;
  const live = liveConfig(config, { read: reread ?? (() => config), log });
  const clock = createClock();
  const { instance, release } = openInstance(config.stateDir);
  undo.push(release);
  // Its thread opens the database while we load what is heavy.
  const [registry, { createHttpListeners: createHttpFaces }] = await Promise.all([
    openRegistry({ stateDir: config.stateDir, log }),
    import('../http/listeners.ts'),
  ]);
  undo.push(() => registry.close());
  const channels = createChannels({ instance, log, socketPath: join(config.stateDir, CHANNEL.socketName) });
  const livekit = await livekitParts(config, { instance, clock, log });
  const { rooms } = livekit;
  const reload = reread === null ? null : () => around(live.reload);
  const cgroups = cgroupsFor(config, instance, log);
  undo.push(() => cgroups?.close());
  const parts = { instance, clock, log, registry, channels, ...livekit };
  const supervisor = makeSupervisor(parts, { live, reload, cgroups });
  const audit = createAudit(config.stateDir, log);
  const api = audited(supervisor, audit, (id) => supervisor.sessions.state(sessionId(id)));
  const admin = { name: 'admin', token: ensureAdminToken(config.stateDir), scopes: ['admin'] as const };
  const http = createHttpFaces({
    api,
    log,
    listen: config.listen,
    tokens: [admin, ...config.api.tokens],
  });
  undo.push(
    () => Promise.allSettled([http.close(), channels.close(), closeLiveKit(livekit)]),
    () => supervisor.leave(),
  );
  // The one waits for the registry first, so that the other costs no time.
  await Promise.all([supervisor.start(), faces ? http.prepare() : null]);
  const { port } = faces ? await http.listen() : { port: null };
  undo.push(startTasks(supervisor, { clock, log }));
  if (rooms === null)
    log.warn({}, 'no LiveKit is configured: nobody is seen in a room, and nothing ends for who is there');
  const fuse = armedFailpoint();
  if (fuse !== null)
    log.error({ failpoint: fuse }, 'a failpoint is armed: this supervisor kills itself there');
  log.info(
    { instance: instance.id, pid: process.pid, socket: faces ? config.listen.socket : null, port },
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

/** What a reload may change is asked of the config each time. */
function makeSupervisor(
  parts: Parts,
  more: { live: LiveConfig; reload: (() => Promise<ReloadView>) | null; cgroups: Cgroups | null },
): Supervisor {
  const { live, reload, cgroups } = more;
  const { instance, clock, log } = parts;
  const config = live.current();
  return new Supervisor({
    ...parts,
    makeWorkers: (listener) => createWorkers({ instance, listener, clock, log, cgroups }),
    table: createProcessTable({
      instanceId: instance.id,
      clock,
      cgroups,
      livekitUrl: config.livekit?.url ?? null,
    }),
    drainStore: createDrainStore(config.stateDir, log),
    plans: createPlanFiles(join(config.stateDir, STATE_FILES.plans)),
    records: createWorkerRecords(instance.workersDir),
    sweep: config.sweep,
    host: hostname(),
    newId: () => randomBytes(10).toString('hex'),
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
    // For a sweep without a supervisor, which sits elsewhere in the hierarchy.
    const path = join(config.stateDir, STATE_FILES.cgroup);
    try {
      writeFileSafelySync(path, `${cgroups.path}\n`);
    } catch (error) {
      log.warn({ path, error: messageOf(error) }, 'a cleanup without a supervisor will not find the cgroups');
    }
    return cgroups;
  }
  log.info(
    { why: cgroups.unavailable },
    'workers run without cgroups: process group and mark, memory sampled',
  );
  return null;
}

/** The first signal; later ones change nothing, so that nobody skips the ladder's KILL. */
export function firstStopSignal(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of signals) process.on(signal, () => resolve(signal));
  });
}

export interface ServeOptions {
  readonly onReady?: (running: { httpPort: number | null }) => void;
  readonly reread?: () => Config;
}

/** The supervisor until a signal stops it; 0 when every session has ended, or was left for the next start. */
export async function serve(config: Config, { onReady, reread }: ServeOptions = {}): Promise<number> {
  const stopping = firstStopSignal(['SIGTERM', 'SIGINT']);
  const log = createLog(config.log);
  const service = createService({ env: process.env, pid: process.pid, log });
  const running = await start(config, {
    faces: true,
    log,
    reread: reread ?? null,
    around: service.reloading,
  });
  listenToSignals(running);
  onReady?.(running);
  await service.ready(() => statusLine(running.supervisor.capacity()));
  const signal = await Promise.race([stopping, running.supervisor.drainOver.then(() => null)]);
  if (signal === null) return endDrain(running, service);
  const { onTerm, timeoutMs: boundMs } = running.config.current().shutdown;
  const ending = await service.ending(signal, { onTerm, boundMs });
  running.log.info({ signal, ending }, 'stopping');
  const noted = running.audit.write(stopEntry(signal, ending, running.supervisor.sessions.all()));
  if (ending === 'drain') await running.supervisor.drained(boundMs);
  const code = await (ending === 'leave' ? leave(running) : release(running, signal));
  await noted;
  return code;
}

async function leave(running: Running): Promise<number> {
  await running.leave();
  running.log.info({}, 'ended; the workers go on and are taken over by the next start');
  return 0;
}

async function release(running: Running, cause: string): Promise<number> {
  const { left } = await running.stop({ kind: 'supervisor', name: cause });
  running.log[left === 0 ? 'info' : 'error'](
    { left },
    left === 0 ? 'stopped' : 'stopped with workers that nothing killed',
  );
  return left === 0 ? 0 : 7;
}

/** SIGHUP reads the config again, SIGUSR1 drains. What is wrong is logged where it is found. */
function listenToSignals({ api, log }: Running): void {
  const on = (signal: 'SIGHUP' | 'SIGUSR1', work: (by: Actor) => Promise<unknown>) =>
    process.on(signal, () => {
      work({ kind: 'supervisor', name: signal }).catch((error: unknown) =>
        log.error({ signal, error: messageOf(error) }, 'a signal could not be followed'),
      );
    });
  on('SIGHUP', (by) => api.reload(by));
  on('SIGUSR1', (by) => api.drain(null, by));
}

/** The last call is over, or the time: what is left is released, and a service is not started again. */
async function endDrain(running: Running, service: Service): Promise<number> {
  running.log.info({}, 'drained: stopping');
  const left = await release(running, 'drain');
  return left === 0 && service.isUnit ? DRAIN.exitUnderSystemd : left;
}

/** For `systemctl status`. */
function statusLine({ sessions, quotas }: CapacityView): string {
  const { queued, starting, live, closing } = sessions;
  const most = quotas.find((one) => one.name === 'host')?.limit ?? 0;
  return `${live} live, ${starting} starting, ${closing} closing, ${queued} queued; at most ${most}`;
}

export async function dev(): Promise<number> {
  const { runDev } = await import('./dev/dev.ts');
  return runDev({ serve });
}
