/** `curfew cleanup`: what should not be there, and its end. Through the supervisor where it answers, without it where it does not. */
import type { Command } from 'commander';
import type { Config } from '../adapters/config/config.ts';
import type { CleanupRequest, CleanupView } from '../api/cleanup-api.ts';
import { CurfewError } from '../lib/errors.ts';
import { CLI } from '../lib/limits/api-limits.ts';
import type { Context } from './command-context.ts';
import { durationOption } from './option-values.ts';
import { isLeft, renderCleanup } from './render-cleanup.ts';
import { usage } from './usage-errors.ts';

interface CleanupOptions {
  readonly apply?: string;
  readonly yes?: boolean;
  readonly unmanaged?: boolean;
  readonly match?: string;
  readonly olderThan?: string;
}

const PARTLY_DONE = 7;

export function cleanupCommand(program: Command, context: Context): void {
  program
    .command('cleanup')
    .description('show processes that should not be there; end them only with --apply or --yes')
    .option('--apply <plan>', 'end exactly what the dry run with this plan showed')
    .option('--yes', 'scan and end at once, as a timer does')
    .option(
      '--match <pattern>',
      'also show what curfew did not start: part of a command line, * for anything',
    )
    .option('--unmanaged', 'end those too; needs --match and --older-than')
    .option('--older-than <duration>', 'only those of at least this age, such as 1d')
    .action(async (options: CleanupOptions) => {
      const sweep = await run(readRequest(options), context).catch(withHint);
      context.show(sweep, () => renderCleanup(sweep, context.paint()));
      if (sweep.verdicts.some(isLeft)) context.exitWith(PARTLY_DONE);
    });
}

function readRequest({ apply, yes, unmanaged, match, olderThan }: CleanupOptions): CleanupRequest {
  const wrong = (detail: string) => usage(`cleanup: ${detail}`);
  if (apply !== undefined) {
    if (unmanaged !== undefined || match !== undefined || olderThan !== undefined)
      throw wrong(
        '--apply takes the plan as it was shown; give it without --match, --unmanaged and --older-than',
      );
    return { dryRun: false, plan: apply, askerPid: process.pid };
  }
  const dryRun = yes !== true;
  if (unmanaged !== true) {
    if (olderThan !== undefined) throw wrong('--older-than goes with --unmanaged');
    return { dryRun, askerPid: process.pid, ...(match !== undefined && { match }) };
  }
  if (match === undefined || olderThan === undefined)
    throw wrong('--unmanaged needs --match PATTERN and --older-than DURATION beside it');
  return {
    dryRun,
    askerPid: process.pid,
    unmanaged: { match, olderThanMs: durationOption('--older-than', olderThan) },
  };
}

/** Of all that a sweep is asked only a plan can be not found. */
function withHint(error: unknown): never {
  if (!(error instanceof CurfewError) || error.code !== 'not_found') throw error;
  throw new CurfewError('not_found', error.message, {
    hint: 'Look again: `curfew cleanup` shows a new plan.',
  });
}

/** A supervisor that does not answer at once is done without: cleaning up must be possible when it hangs. */
async function run(request: CleanupRequest, context: Context): Promise<CleanupView> {
  const client = await context.client();
  const answers = await client.answers(CLI.aliveMs);
  if (answers || client.isRemote) return (await client.post('/v1/sweep', request)) as CleanupView;
  return context.daemons.cleanup(await localConfig(context), request);
}

async function localConfig({ global, terminal }: Context): Promise<Config> {
  const path = global().config ?? terminal.env.CURFEW_CONFIG;
  if (path === undefined) {
    const { DEFAULT_CONFIG } = await import('../adapters/config/config.ts');
    // Only to see who talks to it; nothing is asked of it.
    const url = terminal.env.LIVEKIT_URL;
    return { ...DEFAULT_CONFIG, livekit: url === undefined ? null : { url, apiKey: '', apiSecret: '' } };
  }
  return (await import('../adapters/config/config-file.ts')).loadConfig(path, terminal.env);
}
