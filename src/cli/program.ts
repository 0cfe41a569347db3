/** The command line: its global options and its errors. Each group of commands has its own file. */
import { Command, CommanderError } from 'commander';
import { CurfewError, ERRORS } from '../lib/errors.ts';
import { VERSION } from '../lib/version.ts';
import type { Context, Daemons, GlobalOptions, Terminal } from './command-context.ts';
import { cleanupCommand } from './commands-cleanup.ts';
import { daemonCommands } from './commands-daemon.ts';
import { drainCommands } from './commands-drain.ts';
import { hostCommands } from './commands-host.ts';
import { sessionCommands } from './commands-sessions.ts';
import { connect, findTarget } from './daemon-client.ts';
import { painter, renderError } from './terminal-text.ts';
import { inFlags, usage } from './usage-errors.ts';

const USAGE = 2;

/** Runs one command line and resolves with its exit code. Rejects only with an error inside curfew. */
export async function runCli(
  args: readonly string[],
  given: { terminal: Terminal; daemons: Daemons; commit: string | null },
): Promise<number> {
  const program = new Command('curfew');
  let exitCode = 0;
  const context = makeContext(program, given, (code) => {
    exitCode = code;
  });
  configure(program, given);
  addCommands(program, context);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    return explain(error, context);
  }
}

/** Also for the printed page of the command line, which reads them off the program. */
export function addCommands(program: Command, context: Context): void {
  daemonCommands(program, context);
  sessionCommands(program, context);
  hostCommands(program, context);
  cleanupCommand(program, context);
  drainCommands(program, context);
}

export function configure(
  program: Command,
  { terminal, commit, daemons }: { terminal: Terminal; commit: string | null; daemons?: Daemons },
): void {
  program
    .version(commit === null ? VERSION : `${VERSION} (${commit})`, '--version')
    .description('Supervises voice-agent processes: one worker per LiveKit room.')
    .option('--socket <path>', 'address of the supervisor: a Unix socket or a URL (CURFEW_API)')
    .option('--token-file <file>', 'file with the token for a URL (or the token itself in CURFEW_API_TOKEN)')
    .option('--config <file>', 'the config file (CURFEW_CONFIG)')
    .option('--json', 'print data as JSON')
    .option('--no-color', 'print without colours (NO_COLOR)')
    .hook('preAction', async (_program, command) => {
      refuseEmpty(command);
      await daemons?.begins(command.name());
    })
    .showHelpAfterError('(see --help)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
      getOutHelpWidth: () => 80,
      getErrHelpWidth: () => 80,
    });
}

/** An empty argument is an error, except in the command of `curfew run`. */
function refuseEmpty(command: Command): void {
  command.registeredArguments.forEach((argument, index) => {
    const values: unknown[] = [command.processedArgs[index]].flat();
    if (command.name() !== 'run' && values.includes(''))
      throw usage(`<${argument.name()}>: must not be empty`);
  });
}

function makeContext(
  program: Command,
  { terminal: outer, daemons }: { terminal: Terminal; daemons: Daemons },
  exitWith: (code: number) => void,
): Context {
  const terminal = { ...outer, env: withoutEmpty(outer.env) };
  const global = () => program.opts<GlobalOptions>();
  const coloured = () => terminal.isTty && global().color !== false && terminal.env.NO_COLOR === undefined;
  return {
    terminal,
    daemons,
    global,
    exitWith,
    client: async () =>
      connect(findTarget(global(), terminal.env, await configuredSocket(global(), terminal.env))),
    paint: () => painter(coloured()),
    show: (data, text) => terminal.out(global().json === true ? JSON.stringify(data, null, 2) : text()),
  };
}

/** An empty variable counts as not set. */
function withoutEmpty(env: Terminal['env']): Terminal['env'] {
  const isUnset = (name: string) => env[name] === '' && /^(CURFEW_.*|NO_COLOR|LIVEKIT_URL)$/.test(name);
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isUnset(name)));
}

/** The config's own socket, if a config was named. */
async function configuredSocket(
  { config, socket }: GlobalOptions,
  env: Terminal['env'],
): Promise<string | null> {
  const path = config ?? env.CURFEW_CONFIG;
  if (path === undefined || socket !== undefined || env.CURFEW_API !== undefined) return null;
  const { loadSocket } = await import('../adapters/config/config-file.ts');
  return loadSocket(path);
}

function explain(error: unknown, { terminal, global }: Context): number {
  // commander has already printed its message. Only help exits with 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  const known = isFolderGone(error) ? folderGone() : error;
  if (!(known instanceof CurfewError)) throw error;
  const { exit, hint: defaultHint } = ERRORS[known.code];
  const { hint = defaultHint, ...facts } = known.facts;
  if (global().json === true)
    terminal.err(JSON.stringify({ ...facts, code: known.code, detail: known.message, hint }));
  else terminal.err(renderError(inFlags(known), String(hint)));
  return exit;
}

/** Node's error where the working folder of this process was removed. A relative path then has no meaning. */
function isFolderGone(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).syscall === 'uv_cwd';
}

function folderGone(): CurfewError {
  return new CurfewError('invalid_request', 'the working folder of this command was removed', {
    hint: 'Change to another folder and try again.',
  });
}
