/** Commands about sessions. They send requests to the supervisor. */
import type { Command } from 'commander';
import { Option } from 'commander';
import type { SessionList, SessionView } from '../api/session-schemas.ts';
import { CurfewError } from '../lib/errors.ts';
import { HTTP } from '../lib/limits/api-limits.ts';
import { LIMIT_RANGES } from '../lib/limits/session-limits.ts';
import { REGISTRY } from '../lib/limits/storage-limits.ts';
import type { Context } from './command-context.ts';
import { exitCodeOfWait } from './exit-codes.ts';
import type { LimitOptions } from './option-values.ts';
import { countOption, durationOption, readLabels, readLimits, readMetadata } from './option-values.ts';
import { renderList, renderShow, renderWaited } from './render-sessions.ts';
import { startOutput } from './start-output.ts';
import { plural, renderError } from './terminal-text.ts';
import { usage } from './usage-errors.ts';

interface DispatchOptions extends LimitOptions {
  readonly room: string;
  readonly agent?: string;
  readonly user?: string;
  readonly id?: string;
  readonly metadata?: string;
  readonly label: readonly string[];
  readonly wait?: string;
  readonly timeout: string;
}

interface ReleaseOptions {
  readonly all?: boolean;
  readonly room?: string;
  readonly agent?: string;
  readonly user?: string;
  readonly held?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly reason?: string;
}

export function sessionCommands(program: Command, context: Context): void {
  dispatchCommand(program, context);
  readCommands(program, context);
  releaseCommand(program, context);
  program
    .command('keep-alive <id>')
    .description('restart the idle timeout of a session')
    .option(
      '--for <duration>',
      'time without activity to allow from now, 30s to 3599s (default: the idle timeout)',
    )
    .action(async (id: string, { for: span }: { for?: string }) => {
      const body =
        span === undefined
          ? {}
          : { forMs: durationOption('--for', span, LIMIT_RANGES.activityIdleTimeoutMs) };
      const session = (await (
        await context.client()
      ).post(`/v1/sessions/${encodeURIComponent(id)}/keep_alive`, body)) as SessionView;
      context.show(session, () => renderShow(session, context.paint()));
    });
}

/** Options shared with `curfew run`. */
export function limitOptions(command: Command): Command {
  return command
    .option('--max-duration <duration>', 'longest duration of the session, such as 10m')
    .option('--idle-timeout <duration>', 'longest time without activity, 30s to 3599s')
    .addOption(
      valued('--no-active-stream <duration>', 'longest time without an audio track of a caller, or off'),
    )
    .option('--start-timeout <duration>', 'longest time from the start of the worker to ready')
    .addOption(valued('--no-caller <duration>', 'longest wait for the first caller'))
    .option('--callers-lost <duration>', 'wait for a caller after a lost connection')
    .option('--callers-left <duration>', 'wait for a caller after a hang-up')
    .option('--error-limit <count>', 'number of errors in a row that ends the session');
}

/** Because: commander reads each --no-x as the opposite of --x, but here "no" is part of the name. */
function valued(flags: string, description: string): Option {
  const option = new Option(flags, description);
  option.negate = false;
  return option;
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function dispatchCommand(program: Command, context: Context): void {
  const command = program
    .command('dispatch')
    .description('start a worker for a room')
    .requiredOption('--room <name>', 'the LiveKit room')
    .option('--agent <name>', 'the agent in the config (default: default)')
    .option('--user <name>', 'the user of the call, for limits per user')
    .option('--id <id>', 'your own id; the same command again returns the same session')
    .option('--metadata <json>', 'metadata for the worker, as a JSON object')
    .option('--label <key=value>', 'a label; repeat the option for more', collect, [])
    .addOption(
      new Option('--wait <state>', 'wait until the session has this state').choices(['live', 'ended']),
    )
    .option('--timeout <duration>', 'with --wait: the longest wait', '30s');
  limitOptions(command).action(async (options: DispatchOptions) => {
    const { room, agent, user, id, wait } = options;
    const body = {
      room,
      agent,
      user,
      id,
      metadata: readMetadata(options.metadata),
      labels: readLabels(options.label),
      limits: readLimits(options),
    };
    const query =
      wait === undefined
        ? ''
        : `?wait=${encodeURIComponent(wait)}&timeoutMs=${durationOption('--timeout', options.timeout, [0, HTTP.waitMaxMs])}`;
    const session = (await (await context.client()).post(`/v1/sessions${query}`, body)) as SessionView;
    context.show(session, () => session.id);
    if (wait !== undefined) await reportWait(session, { wait, timeout: options.timeout }, context);
  });
}

/** Sets the exit code, and prints why the session is not in the wanted state. With --json the session itself shows why. */
async function reportWait(
  session: SessionView,
  { wait, timeout }: { wait: string; timeout: string },
  { exitWith, global, terminal, client }: Context,
): Promise<void> {
  const code = exitCodeOfWait(session, wait);
  exitWith(code);
  if (code === 0 || global().json === true) return;
  const { id, reason } = session;
  const hasFailed = reason === 'crashed' || reason === 'start_timeout';
  const see = hasFailed
    ? `See \`curfew show ${id}\` and \`curfew logs ${id}\`.`
    : `See \`curfew show ${id}\`.`;
  terminal.err(renderError(renderWaited(session, { wait, timeout }), see));
  const output = hasFailed ? await startOutput(await client(), id) : '';
  if (output !== '') terminal.err(output);
}

function readCommands(program: Command, context: Context): void {
  program
    .command('list')
    .description('sessions, newest first; those that have not ended, or --all')
    .option('--all', 'ended ones too')
    .option('--state <states>', 'only these, separated by commas')
    .option('--room <name>', 'only those of this room')
    .option('--agent <name>', 'only those of this agent')
    .option('--user <name>', 'only those of this user')
    .option('--label <key=value>', 'only those with this label')
    .option('--limit <count>', 'at most this many', '100')
    .action(async ({ all, state, ...filters }: Record<string, string | boolean | undefined>) => {
      countOption('--limit', String(filters.limit), [1, REGISTRY.listMax]);
      const query = new URLSearchParams(givenOf(filters));
      if (state !== undefined || all !== true) query.set('state', String(state ?? 'open'));
      const found = (await (await context.client()).get(`/v1/sessions?${query}`)) as SessionList;
      context.show(found, () => renderList(found.sessions));
      if (found.nextCursor !== null)
        context.terminal.err('there are more sessions; add a filter or raise --limit');
    });
  program
    .command('show <id>')
    .description('show one session: its state, its next deadlines, or why it ended')
    .action(async (id: string) => {
      const session = (await (
        await context.client()
      ).get(`/v1/sessions/${encodeURIComponent(id)}`)) as SessionView;
      context.show(session, () => renderShow(session, context.paint()));
    });
  program
    .command('logs <id>')
    .description("print the output of the session's workers")
    .option('-f, --follow', 'print new output until the session ends')
    .option('--tail-bytes <count>', 'print this much from the end', String(HTTP.logBytes))
    .action(async (id: string, { follow, tailBytes }: { follow?: boolean; tailBytes: string }) => {
      const bytes = countOption('--tail-bytes', tailBytes, [0, HTTP.logBytes]);
      const query = `tailBytes=${bytes}&follow=${follow === true ? 1 : 0}`;
      const stream = await (await context.client()).stream(
        `/v1/sessions/${encodeURIComponent(id)}/logs?${query}`,
      );
      for await (const chunk of stream) context.terminal.raw(chunk as Buffer);
    });
}

function givenOf(filters: Readonly<Record<string, string | boolean | undefined>>): [string, string][] {
  return Object.entries(filters).flatMap(([key, value]): [string, string][] =>
    value === undefined ? [] : [[key, String(value)]],
  );
}

function releaseCommand(program: Command, context: Context): void {
  program
    .command('release [ids...]')
    .description('end sessions: by id, by a filter, or --all')
    .option('--all', 'every session')
    .option('--room <name>', 'those of this room')
    .option('--agent <name>', 'those of this agent')
    .option('--user <name>', 'those of this user')
    .option('--held', 'those whose end is held back because too many would end at once')
    .option('--dry-run', 'only show which')
    .option('--yes', 'do not ask')
    .option('--reason <text>', 'a text that the sessions keep')
    .action(async (ids: readonly string[], options: ReleaseOptions) => {
      const sessions =
        ids.length > 0 ? await releaseThese(ids, options, context) : await releaseMany(options, context);
      context.show({ dryRun: options.dryRun === true, sessions }, () => renderList(sessions));
    });
}

async function releaseThese(
  ids: readonly string[],
  { dryRun, reason }: ReleaseOptions,
  context: Context,
): Promise<SessionView[]> {
  const client = await context.client();
  const done: SessionView[] = [];
  for (const id of ids) {
    const path = `/v1/sessions/${encodeURIComponent(id)}`;
    try {
      done.push(
        (await (dryRun === true
          ? client.get(path)
          : client.post(`${path}/release`, { detail: reason }))) as SessionView,
      );
    } catch (error) {
      if (ids.length === 1 || !(error instanceof CurfewError) || error.code === 'unreachable') throw error;
      context.terminal.err(`curfew: ${id}: ${error.message}`);
      context.exitWith(7);
    }
  }
  return done;
}

async function releaseMany(options: ReleaseOptions, context: Context): Promise<SessionView[]> {
  const { all, room, agent, user, held, dryRun, reason } = options;
  const filter = { room, agent, user, held };
  const hasFilter = Object.values(filter).some((value) => value !== undefined);
  if (!hasFilter && all !== true) throw usage('release: no session is named; give ids, a filter or --all');
  const client = await context.client();
  const body = { filter, all: all === true, detail: reason };
  const ask = async (dry: boolean) =>
    ((await client.post('/v1/sessions/release', { ...body, dryRun: dry })) as { sessions: SessionView[] })
      .sessions;
  const chosen = await ask(true);
  if (dryRun === true || chosen.length === 0) return chosen;
  if (options.yes === true) return ask(false);
  await confirm(chosen.length, context);
  // Race: new sessions may match by now. Release exactly the sessions that the person confirmed.
  return releaseThese(
    chosen.map((one) => one.id),
    options,
    context,
  );
}

async function confirm(count: number, { terminal }: Context): Promise<void> {
  const sessions = plural(count, 'session');
  if (!terminal.isTty)
    throw usage(`release: this would end ${sessions}`, 'Add --yes to end them, or --dry-run to see them.');
  const answer = await terminal.ask(`End ${sessions}? [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim()))
    throw usage('release: no session was ended', 'Answer y to end them, or add --yes.');
}
