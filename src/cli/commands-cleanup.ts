/**
 * `curfew cleanup`: lists or ends processes that should not be there. The supervisor does the work if it answers;
 * otherwise this command does it.
 */
import { resolve } from 'node:path';
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
  readonly abandoned?: string;
}

const PARTLY_DONE = 7;

export function cleanupCommand(program: Command, context: Context): void {
  program
    .command('cleanup')
    .description('show processes that should not be there; end them only with --apply or --yes')
    .option('--apply <plan>', 'end exactly the processes that the dry run with this plan showed')
    .option('--yes', 'end them at once, without a dry run, for a timer')
    .option(
      '--match <pattern>',
      'also show processes that curfew did not start, by a part of their command line; * stands for any text',
    )
    .option('--unmanaged', 'also end the processes of --match; needs --match and --older-than')
    .option('--older-than <duration>', 'with --unmanaged: only processes of at least this age, such as 1d')
    .option('--abandoned <dir>', 'also end the workers of this state directory, whose supervisor is gone')
    .action(async (options: CleanupOptions) => {
      const view = await run(readRequest(options), context).catch(withHint);
      context.show(view, () => renderCleanup(view, context.paint()));
      if (view.verdicts.some(isLeft)) context.exitWith(PARTLY_DONE);
    });
}

function readRequest({ apply, yes, unmanaged, match, olderThan, abandoned }: CleanupOptions): CleanupRequest {
  const wrong = (detail: string) => usage(`cleanup: ${detail}`);
  if (apply !== undefined) {
    if ([unmanaged, match, olderThan, abandoned].some((one) => one !== undefined))
      throw wrong(
        '--apply ends exactly the processes of its plan; remove --match, --unmanaged, --older-than and --abandoned',
      );
    return { dryRun: false, plan: apply, askerPid: process.pid };
  }
  const base = {
    dryRun: yes !== true,
    askerPid: process.pid,
    ...(abandoned !== undefined && { abandoned: resolve(abandoned) }),
  };
  if (unmanaged !== true) {
    if (olderThan !== undefined) throw wrong('--older-than needs --unmanaged; add it');
    return { ...base, ...(match !== undefined && { match }) };
  }
  if (match === undefined || olderThan === undefined)
    throw wrong('--unmanaged needs --match PATTERN and --older-than DURATION; add both');
  return {
    ...base,
    unmanaged: { match, olderThanMs: durationOption('--older-than', olderThan) },
  };
}

/** Only a plan can be missing in a cleanup, so the hint is about plans. */
function withHint(error: unknown): never {
  if (!(error instanceof CurfewError) || error.code !== 'not_found') throw error;
  throw new CurfewError('not_found', error.message, {
    hint: 'Run `curfew cleanup` again for a new plan.',
  });
}

/** If the supervisor does not answer soon, the cleanup runs without it, because it must also work while it hangs. */
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
    // The cleanup only needs the address, to find processes with a connection to it. It sends LiveKit no request.
    const url = terminal.env.LIVEKIT_URL;
    return { ...DEFAULT_CONFIG, livekit: url === undefined ? null : { url, apiKey: '', apiSecret: '' } };
  }
  return (await import('../adapters/config/config-file.ts')).loadConfig(path, terminal.env);
}
