/** `curfew drain` and `curfew undrain`. */
import { setTimeout } from 'node:timers/promises';
import type { Command } from 'commander';
import type { CapacityView, DrainView } from '../api/host-schemas.ts';
import { CurfewError } from '../lib/errors.ts';
import { CLI } from '../lib/limits/api-limits.ts';
import { DRAIN } from '../lib/limits/service-limits.ts';
import type { Context } from './command-context.ts';
import type { Client } from './daemon-client.ts';
import { durationOption } from './option-values.ts';
import { plural, span } from './terminal-text.ts';

interface DrainOptions {
  readonly timeout?: string;
  /** commander's reading of --no-wait. */
  readonly wait: boolean;
}

export function drainCommands(program: Command, context: Context): void {
  program
    .command('drain')
    .description('refuse new sessions, wait for the calls to end, then stop the supervisor')
    .option('--timeout <duration>', 'after this time, release the sessions that are left')
    .option('--no-wait', 'return at once; the drain goes on')
    .action(async ({ timeout, wait }: DrainOptions) => {
      const client = await context.client();
      const body =
        timeout === undefined ? {} : { timeoutMs: durationOption('--timeout', timeout, [0, DRAIN.maxMs]) };
      const begun = await begin(client, body);
      const drained = begun === null || (wait && (await waitForEnd(client, begun, context)));
      context.show({ drained, draining: begun?.draining ?? null }, () =>
        drained || begun === null ? 'drained: the supervisor has stopped' : describe(begun),
      );
    });
  program
    .command('undrain')
    .description('end a drain: the supervisor accepts new sessions again')
    .action(async () => {
      const client = await context.client();
      const { draining } = (await client.get('/v1/capacity')) as CapacityView;
      const { accepting } = (await client.post('/v1/undrain', {})) as CapacityView;
      context.show({ accepting }, () => {
        if (!accepting) return 'the supervisor is already stopping';
        return draining === null
          ? 'no drain is under way: nothing changed'
          : 'the supervisor accepts new sessions again';
      });
    });
}

/**
 * Starts the drain. A supervisor that dies during the request gets it again after its restart; a second request does no
 * harm. null: the supervisor has already stopped.
 */
async function begin(client: Client, body: object): Promise<CapacityView | null> {
  const ask = () => client.post('/v1/drain', body) as Promise<CapacityView>;
  try {
    return await ask();
  } catch (error) {
    if (!isUnreachable(error) || !['UND_ERR_SOCKET', 'ECONNRESET'].includes(String(error.facts.cause)))
      throw error;
    return (await pollAgain(client)) === null ? null : ask();
  }
}

function isUnreachable(error: unknown): error is CurfewError {
  return error instanceof CurfewError && error.code === 'unreachable';
}

/** true: the supervisor has stopped. false: an undrain ended the drain. */
async function waitForEnd(client: Client, begun: CapacityView, { terminal }: Context): Promise<boolean> {
  let reported: DrainView | null = null;
  for (let capacity: CapacityView | null = begun; ; ) {
    if (capacity === null) return true;
    if (capacity.draining === null) {
      terminal.err('an undrain ended the drain; the supervisor accepts new sessions');
      return false;
    }
    if (reported === null || isNews(reported, capacity.draining)) {
      terminal.err(describe(capacity));
      reported = capacity.draining;
    }
    await setTimeout(CLI.drainPollMs);
    capacity = await pollAgain(client);
  }
}

/** true: a session ended, or the last report of the remaining time is old. */
function isNews(reported: DrainView, now: DrainView): boolean {
  return reported.open !== now.open || (reported.leftMs ?? 0) - (now.leftMs ?? 0) >= CLI.drainReportMs;
}

/** null: the supervisor has stopped. A crashed one has some time to start again; it then continues the drain. */
async function pollAgain(client: Client): Promise<CapacityView | null> {
  const untilMs = performance.now() + CLI.drainBackMs;
  for (let missing = 0; ; ) {
    try {
      return (await client.get('/v1/capacity')) as CapacityView;
    } catch (error) {
      if (!isUnreachable(error)) throw error;
      const { cause, socket } = error.facts;
      // A supervisor that stops removes its socket. A crashed one leaves it, and the next one replaces it.
      missing = cause === 'ENOENT' ? missing + 1 : 0;
      if (missing > 1) return null;
      if (performance.now() > untilMs && socket === null) return null;
      if (performance.now() > untilMs) throw error;
      await setTimeout(CLI.drainPollMs);
    }
  }
}

function describe({ draining }: CapacityView): string {
  if (draining === null) return 'not draining';
  const { open, leftMs } = draining;
  const left = leftMs === null ? '' : `, curfew releases them in ${span(Math.ceil(leftMs / 1000) * 1000)}`;
  return `draining: ${plural(open, 'session')} left${left}`;
}
