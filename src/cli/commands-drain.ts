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
    .description('take no new sessions, let the calls end, then stop the supervisor')
    .option('--timeout <duration>', 'release what is left after this')
    .option('--no-wait', 'do not wait for the end')
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
    .description('take a drain back: new sessions are taken again')
    .action(async () => {
      const client = await context.client();
      const { draining } = (await client.get('/v1/capacity')) as CapacityView;
      const { accepting } = (await client.post('/v1/undrain', {})) as CapacityView;
      context.show({ accepting }, () => {
        if (!accepting) return 'the supervisor is stopping already';
        return draining === null
          ? 'no drain is under way: nothing was changed'
          : 'new sessions are taken again';
      });
    });
}

/** One that dies over the question is asked again when it is back; to drain twice does no harm. null: it was, and has stopped. */
async function begin(client: Client, body: object): Promise<CapacityView | null> {
  const ask = () => client.post('/v1/drain', body) as Promise<CapacityView>;
  try {
    return await ask();
  } catch (error) {
    if (!isUnreachable(error) || !['UND_ERR_SOCKET', 'ECONNRESET'].includes(String(error.facts.cause)))
      throw error;
    return (await lookAgain(client)) === null ? null : ask();
  }
}

function isUnreachable(error: unknown): error is CurfewError {
  return error instanceof CurfewError && error.code === 'unreachable';
}

/** True: it has stopped. False: the drain was taken back. */
async function waitForEnd(client: Client, begun: CapacityView, { terminal }: Context): Promise<boolean> {
  let said: DrainView | null = null;
  for (let capacity: CapacityView | null = begun; ; ) {
    if (capacity === null) return true;
    if (capacity.draining === null) {
      terminal.err('the drain was taken back');
      return false;
    }
    if (said === null || isNews(said, capacity.draining)) {
      terminal.err(describe(capacity));
      said = capacity.draining;
    }
    await setTimeout(CLI.drainLookMs);
    capacity = await lookAgain(client);
  }
}

/** Each end of a call, and the time that is left now and then. */
function isNews(said: DrainView, now: DrainView): boolean {
  return said.open !== now.open || (said.leftMs ?? 0) - (now.leftMs ?? 0) >= CLI.drainSayMs;
}

/** Null: it has stopped. One that crashed is started again and goes on draining: it has some time to come back. */
async function lookAgain(client: Client): Promise<CapacityView | null> {
  const untilMs = performance.now() + CLI.drainBackMs;
  for (let missing = 0; ; ) {
    try {
      return (await client.get('/v1/capacity')) as CapacityView;
    } catch (error) {
      if (!isUnreachable(error)) throw error;
      const { cause, socket } = error.facts;
      // Whoever stops takes the socket away; a dead one leaves it, and the next one puts its own there.
      missing = cause === 'ENOENT' ? missing + 1 : 0;
      if (missing > 1) return null;
      if (performance.now() > untilMs && socket === null) return null;
      if (performance.now() > untilMs) throw error;
      await setTimeout(CLI.drainLookMs);
    }
  }
}

function describe({ draining }: CapacityView): string {
  if (draining === null) return 'not draining';
  const { open, leftMs } = draining;
  const left = leftMs === null ? '' : `, released in ${span(Math.ceil(leftMs / 1000) * 1000)}`;
  return `draining: ${plural(open, 'session')} left${left}`;
}
