/** Commands that run a supervisor in this process: serve, dev and run. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import type { WorkerProtocol } from '../core/model/profile.ts';
import type { Context } from './command-context.ts';
import { configPath } from './commands-host.ts';
import { limitOptions } from './commands-sessions.ts';
import type { LimitOptions } from './option-values.ts';
import { readLimits, readMetadata } from './option-values.ts';
import { usage } from './usage-errors.ts';

interface RunFlags extends LimitOptions {
  readonly room: string;
  readonly agent?: string;
  readonly protocol?: WorkerProtocol;
  readonly metadata?: string;
  readonly cwd?: string;
}

export function daemonCommands(program: Command, context: Context): void {
  program
    .command('serve')
    .description('run the supervisor in the foreground, for systemd or a container')
    .option('--config <file>', 'the config file (CURFEW_CONFIG)')
    .action(async ({ config }: { config?: string }) => {
      const { loadConfig } = await import('../adapters/config/config-file.ts');
      const read = () => loadConfig(configPath(config, context), context.terminal.env);
      context.exitWith(await context.daemons.serve(read(), read));
    });
  program
    .command('dev')
    .description(
      'run a LiveKit server for development, the supervisor and the example agent, as npm start does; one for each folder',
    )
    .action(async () => context.exitWith(await context.daemons.dev()));
  // Hidden: only the guard of a run uses it.
  program
    .command('end-run <dir>', { hidden: true })
    .action(async (dir: string) => context.exitWith(await context.daemons.endRun(dir)));
  const run = program
    .command('run [command...]')
    .description(
      'supervise one call in the foreground, without a daemon: curfew run --room R --protocol livekit -- python agent.py start',
    )
    .requiredOption('--room <name>', 'the LiveKit room')
    .option('--agent <name>', 'the agent in the config')
    .addOption(
      new Option(
        '--protocol <name>',
        'of the command after --: livekit for a program of LiveKit Agents, none for any other (default: none)',
      ).choices(['none', 'livekit', 'curfew']),
    )
    .option('--cwd <dir>', 'the folder of the command after --, or of the agent; default: this one')
    .option('--metadata <json>', 'metadata for the worker, as a JSON object');
  limitOptions(run).action(async (command: readonly string[], flags: RunFlags) => {
    if (command.length > 0 && flags.agent !== undefined)
      throw usage('run: --agent and a command after -- exclude each other; give one of them');
    if (command.length === 0 && flags.protocol !== undefined)
      throw usage('run: --protocol is for a command after --; an agent of the config has its own protocol');
    const path = context.global().config ?? context.terminal.env.CURFEW_CONFIG ?? null;
    if (command.length === 0 && path === null)
      throw usage('run: there is no command; give one after --, or --config FILE and --agent NAME');
    const { room, agent = 'default', protocol = 'none', metadata, cwd = null } = flags;
    context.exitWith(
      await context.daemons.run({
        room,
        agent,
        command,
        protocol,
        cwd: cwd === null ? null : resolve(cwd),
        metadata: readMetadata(metadata),
        limits: readLimits(flags),
        configPath: path,
      }),
    );
  });
}
