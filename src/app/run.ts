/** `curfew run`: one call in the foreground, with its own instance. */
import { startGuard } from '../adapters/cleanup/run-guard.ts';
import type { Config } from '../adapters/config/config.ts';
import { DEFAULT_CONFIG, tempDirOf } from '../adapters/config/config.ts';
import { loadConfig, resolveLiveKit } from '../adapters/config/config-file.ts';
import { defaultProfile } from '../adapters/config/config-schema.ts';
import { launchWarnings } from '../adapters/config/launch-check.ts';
import { createLog } from '../adapters/telemetry/pino-log.ts';
import { removeTree } from '../adapters/worker/temp/remove-tree.ts';
import type { SessionView } from '../api/session-schemas.ts';
import { dispatchSchema } from '../api/session-schemas.ts';
import type { RunOptions } from '../cli/command-context.ts';
import { exitCodeOf } from '../cli/exit-codes.ts';
import { renderShow } from '../cli/render-sessions.ts';
import { painter, safe } from '../cli/terminal-text.ts';
import type { Profile } from '../core/model/profile.ts';
import type { Actor } from '../core/model/session.ts';
import { CurfewError } from '../lib/errors.ts';
import { RUN } from '../lib/limits/service-limits.ts';
import { userName } from '../lib/user-name.ts';
import type { Supervisor } from '../runtime/supervisor.ts';
import { makeRunDir } from './run-dir.ts';
import { firstStopSignal } from './serve.ts';
import { startSupervisor } from './start-supervisor.ts';

/** Runs one session. Returns the exit code of the session's reason. Rejects with CurfewError. */
export async function run(options: RunOptions): Promise<number> {
  const stateDir = makeRunDir();
  const log = createLog({ level: 'warn', format: 'text' });
  const over = startGuard([process.execPath, ...process.execArgv, ownProgram(), 'end-run', stateDir], log);
  try {
    return await runIn(stateDir, options);
  } finally {
    const error = await removeTree(stateDir);
    if (error !== null) log.warn({ path: stateDir, error }, 'the directory of this run could not be removed');
    over();
  }
}

function ownProgram(): string {
  return process.argv[1] ?? '';
}

async function runIn(stateDir: string, options: RunOptions): Promise<number> {
  const stopping = stopCause();
  const config = runConfig(options, stateDir);
  warnOfCommand(config.agents[options.agent]);
  const running = await startSupervisor(config, {
    listeners: false,
    log: createLog(config.log),
    reread: null,
  });
  const actor: Actor = { kind: 'local', name: userName() };
  try {
    const session = await runOne(running.supervisor, options, { actor, stopping });
    process.stderr.write(
      `${renderShow(session, painter(process.stderr.isTTY === true && process.env.NO_COLOR === undefined))}\n`,
    );
    return exitCodeOf(session);
  } finally {
    await running.stop(actor);
  }
}

/** Because: such a command may exit with 0 and look like a call that went well. */
function warnOfCommand(profile: Profile | undefined): void {
  const texts = profile === undefined ? [] : launchWarnings(profile, () => null);
  for (const text of texts) process.stderr.write(`curfew: warning: ${safe(text)}\n`);
}

/** The cause of the stop: a signal, or a closed output. A closed terminal must end the call, because nothing else would. */
function stopCause(): Promise<string> {
  const closed = Promise.withResolvers<string>();
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error');
    stream.on('error', ({ code }: NodeJS.ErrnoException) => closed.resolve(code ?? 'the output is closed'));
  }
  return Promise.race([firstStopSignal(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']), closed.promise]);
}

function runConfig(options: RunOptions, stateDir: string): Config {
  const { configPath, command, protocol, agent, cwd } = options;
  const base =
    configPath === null
      ? { ...DEFAULT_CONFIG, livekit: resolveLiveKit({}, { env: process.env, folder: '.' }) }
      : loadConfig(configPath, process.env);
  const [program, ...args] = command;
  // A command in the arguments gets the shell's environment, as it would without curfew.
  const given =
    program === undefined
      ? base.agents[agent]
      : { ...defaultProfile(agent, [program, ...args], protocol), passAll: true };
  const own = given === undefined ? {} : { [agent]: { ...given, cwd: cwd ?? given.cwd } };
  // The end of the command removes both folders together. A long TMPDIR leaves no room for sockets below it.
  const tempDir = tempDirOf({ TMPDIR: stateDir });
  return {
    ...base,
    stateDir,
    tempDir,
    // A person asked for this one call, on this host.
    limits: { ...base.limits, cpu: null, memoryFree: null },
    agents: { ...base.agents, ...own },
    log: { level: 'warn', format: 'text' },
    // The run prints the log of its worker.
    logs: { forward: 'off' },
  };
}

async function runOne(
  supervisor: Supervisor,
  options: RunOptions,
  { actor, stopping }: { actor: Actor; stopping: Promise<string> },
): Promise<SessionView> {
  const parsed = dispatchSchema.safeParse({
    room: options.room,
    agent: options.agent,
    metadata: options.metadata,
    limits: options.limits,
  });
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => ({ field: path.join('.'), message }));
    const detail = issues.map(({ field, message }) => `${field}: ${message}`).join('; ');
    throw new CurfewError('invalid_request', detail, { issues });
  }
  const { session } = await supervisor.dispatch(parsed.data, actor);
  void stopping.then((cause) => supervisor.release(session.id, actor, cause));
  const { followLogs } = await import('../http/log-stream.ts');
  for await (const chunk of followLogs(supervisor, session.id, RUN.tailBytes))
    process.stdout.write(chunk as Buffer);
  return supervisor.wait(session.id, 'ended', RUN.afterMs);
}
