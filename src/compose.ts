/** Puts a supervisor together from its adapters, and runs it as `serve`, `dev` and `run`. Loaded by main.ts when needed. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { SessionView } from './api.ts';
import { dispatchSchema } from './api.ts';
import type { RunOptions } from './cli/context.ts';
import { exitCodeOf } from './cli/exit-codes.ts';
import { renderShow } from './cli/render.ts';
import { painter } from './cli/text.ts';
import type { Config } from './config/config.ts';
import { DEFAULT_CONFIG, profileOf } from './config/config.ts';
import { loadConfig, resolveLiveKit } from './config/load.ts';
import { defaultProfile } from './config/schema.ts';
import type { Author } from './core/session.ts';
import { CurfewError, messageOf } from './errors.ts';
import { createHttpFaces } from './http/faces.ts';
import { CHANNEL, RETENTION, RUN, STATE_FILES, SWEEP } from './limits.ts';
import type { Clock, Instance, Log, Rooms } from './ports.ts';
import { createRooms } from './presence/rooms.ts';
import type { Cgroups } from './process/cgroup.ts';
import { openCgroups } from './process/cgroup.ts';
import { ensureAdminToken, openInstance } from './registry/instance.ts';
import { openRegistry } from './registry/registry.ts';
import { startTask } from './runtime/cron.ts';
import { prune } from './runtime/retention.ts';
import { Supervisor } from './runtime/supervisor.ts';
import { createPlans } from './sweep/plans.ts';
import { createProcessTable } from './sweep/table.ts';
import { createClock } from './telemetry/clock.ts';
import { createLog } from './telemetry/log.ts';
import { createChannels } from './worker/control.ts';
import { createWorkerRecords } from './worker/records.ts';
import { createWorkers } from './worker/workers.ts';

interface Running {
  readonly supervisor: Supervisor;
  readonly log: Log;
  readonly httpPort: number | null;
  /** Releases every session inside the configured bound, then closes everything. */
  stop(by: Author): Promise<{ left: number }>;
}

async function start(config: Config, { faces }: { faces: boolean }): Promise<Running> {
  const log = createLog(config.log);
  const clock = createClock();
  const { instance, release } = openInstance(config.stateDir);
  const registry = await openRegistry({ stateDir: config.stateDir, log });
  const channels = createChannels({ instance, log, socketPath: join(config.stateDir, CHANNEL.socketName) });
  const rooms = roomsFor(config, clock);
  const cgroups = cgroupsFor(config, instance, log);
  const supervisor = new Supervisor({
    instance,
    clock,
    log,
    registry,
    channels,
    rooms,
    makeWorkers: (listener) => createWorkers({ instance, listener, clock, log, cgroups }),
    table: createProcessTable({
      instanceId: instance.id,
      clock,
      cgroups,
      livekitUrl: config.livekit?.url ?? null,
    }),
    plans: createPlans(join(config.stateDir, STATE_FILES.plans)),
    records: createWorkerRecords(instance.workersDir),
    sweep: config.sweep,
    host: hostname(),
    newId: () => randomBytes(10).toString('hex'),
    limits: config.limits,
    agents: Object.keys(config.agents),
    profileOf: (agent) => profileOf(config, agent),
    retention: config.retention,
  });
  await supervisor.start();
  const stopTasks = startTasks(supervisor, log);
  const admin = { name: 'admin', token: ensureAdminToken(config.stateDir), scopes: ['admin'] as const };
  const http = createHttpFaces({
    api: supervisor,
    log,
    listen: config.listen,
    tokens: [admin, ...config.api.tokens],
  });
  /** Lets everything go and no call: the next start takes the workers over. */
  const abandon = async (error: unknown): Promise<never> => {
    supervisor.sessions.close();
    await Promise.allSettled([http.close(), stopTasks(), channels.close(), rooms?.close(), registry.close()]);
    release();
    throw error;
  };
  const { port } = faces ? await http.listen().catch(abandon) : { port: null };
  if (rooms === null)
    log.warn({}, 'no LiveKit is configured: nobody is seen in a room, and nothing ends for who is there');
  log.info(
    { instance: instance.id, pid: process.pid, socket: faces ? config.listen.socket : null, port },
    'curfew is up',
  );
  return {
    supervisor,
    log,
    httpPort: port,
    stop: async (by) => {
      const stopped = await supervisor.stop(config.shutdown.timeoutMs, by);
      await Promise.allSettled([http.close(), stopTasks(), channels.close(), rooms?.close()]);
      await registry.close();
      release();
      return stopped;
    },
  };
}

function roomsFor({ livekit, presence }: Config, clock: Clock): Rooms | null {
  return livekit === null ? null : createRooms({ livekit, clock, pollEveryMs: presence.pollEveryMs });
}

/** What comes round by the clock. The first sweep follows the start at once. */
function startTasks(supervisor: Supervisor, log: Log): () => Promise<void> {
  const by: Author = { kind: 'supervisor', name: 'sweep' };
  const sweep = () => supervisor.sweep({ dryRun: false }, by);
  const stops = [
    startTask({ name: 'retention', cron: RETENTION.cron, log, work: () => prune(supervisor.sessions) }),
    startTask({ name: 'sweep', cron: SWEEP.cron, log, work: sweep }),
  ];
  void sweep().catch((error: unknown) => log.warn({ error: messageOf(error) }, 'the first sweep failed'));
  return async () => {
    await Promise.all(stops.map((stop) => stop()));
  };
}

function cgroupsFor(config: Config, instance: Instance, log: Log): Cgroups | null {
  if (config.cgroups === 'off') return null;
  const cgroups = openCgroups(instance.id);
  if (!('unavailable' in cgroups)) {
    // For a sweep without a supervisor, which sits elsewhere in the hierarchy.
    writeFileSync(join(config.stateDir, STATE_FILES.cgroup), `${cgroups.path}\n`, { mode: 0o600 });
    return cgroups;
  }
  log.info(
    { why: cgroups.unavailable },
    'workers run without cgroups: process group and mark, memory sampled',
  );
  return null;
}

const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** The first signal; later ones change nothing, so that nobody skips the ladder's KILL. */
function firstStopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of STOP_SIGNALS) process.on(signal, () => resolve(signal));
  });
}

/** The supervisor until a signal stops it; 0 when every session has ended. */
export async function serve(
  config: Config,
  onReady: (running: { httpPort: number | null }) => void = () => undefined,
): Promise<number> {
  const stopping = firstStopSignal();
  const running = await start(config, { faces: true });
  onReady(running);
  const signal = await stopping;
  running.log.info({ signal }, 'stopping: every session is released');
  const { left } = await running.stop({ kind: 'supervisor', name: signal });
  running.log[left === 0 ? 'info' : 'error'](
    { left },
    left === 0 ? 'stopped' : 'stopped with workers that nothing killed',
  );
  return left === 0 ? 0 : 7;
}

/** One session in the foreground with an instance of its own; exits by its reason. */
export async function run(options: RunOptions): Promise<number> {
  const stateDir = mkdtempSync(join(tmpdir(), 'curfew-run-'));
  const stopping = firstStopSignal();
  const running = await start(runConfig(options, stateDir), { faces: false });
  const by: Author = { kind: 'local', name: userInfo().username };
  try {
    const session = await runOne(running.supervisor, options, { by, stopping });
    process.stderr.write(
      `${renderShow(session, painter(process.stderr.isTTY === true && process.env.NO_COLOR === undefined))}\n`,
    );
    return exitCodeOf(session);
  } finally {
    await running.stop(by);
    rmSync(stateDir, { recursive: true, force: true });
  }
}

function runConfig(options: RunOptions, stateDir: string): Config {
  const { configPath, command, agent } = options;
  const base =
    configPath === null
      ? { ...DEFAULT_CONFIG, livekit: resolveLiveKit({}, process.env) }
      : loadConfig(configPath, process.env);
  const [program, ...args] = command;
  // A command given by hand sees the shell's environment, as if it had been typed without curfew.
  const own =
    program === undefined
      ? {}
      : { [agent]: { ...defaultProfile(agent, [program, ...args]), passEnv: passedByHand() } };
  return { ...base, stateDir, agents: { ...base.agents, ...own }, log: { level: 'warn', format: 'text' } };
}

function passedByHand(): string[] {
  return Object.keys(process.env).filter((name) => !RUN.withheldEnv.includes(name));
}

async function runOne(
  supervisor: Supervisor,
  options: RunOptions,
  { by, stopping }: { by: Author; stopping: Promise<NodeJS.Signals> },
): Promise<SessionView> {
  const parsed = dispatchSchema.safeParse({
    room: options.room,
    agent: options.agent,
    metadata: options.metadata,
    limits: options.limits,
  });
  if (!parsed.success)
    throw new CurfewError(
      'invalid_request',
      parsed.error.issues.map((one) => `${one.path.join('.')}: ${one.message}`).join('; '),
    );
  const { session } = await supervisor.dispatch(parsed.data, by);
  void stopping.then((signal) => supervisor.release(session.id, by, signal));
  const { followLogs } = await import('./http/logs.ts');
  for await (const chunk of followLogs(supervisor, session.id, RUN.tailBytes))
    process.stdout.write(chunk as Buffer);
  return supervisor.wait(session.id, 'ended', RUN.afterMs);
}

export async function dev(): Promise<number> {
  const { runDev } = await import('./dev/dev.ts');
  return runDev({ serve });
}
