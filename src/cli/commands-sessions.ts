/** Commands on sessions: they ask the daemon. */
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
    .description('postpone the idle timeout of a session')
    .option('--for <duration>', 'as long as this')
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
    .option('--max-duration <duration>', 'the longest it may go on, such as 10m')
    .option('--idle-timeout <duration>', 'without activity, 30s to 3599s')
    .addOption(valued('--no-active-stream <duration>', 'without an audio track of a caller, or off'))
    .option('--start-timeout <duration>', 'from its start to ready')
    .addOption(valued('--no-caller <duration>', 'until the first caller joins'))
    .option('--callers-lost <duration>', 'grace for callers who lost the connection')
    .option('--callers-left <duration>', 'grace for callers who hung up')
    .option('--error-limit <count>', 'errors in a row');
}

/** commander takes every --no-x for the opposite of --x; here "no" is part of the name. */
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
    .option('--agent <name>', 'the agent of the config (default: default)')
    .option('--user <name>', 'whose call it is, for limits per user')
    .option('--id <id>', 'your own id: the same call again gives the same session')
    .option('--metadata <json>', 'a JSON object for the worker')
    .option('--label <key=value>', 'a label, can be repeated', collect, [])
    .addOption(new Option('--wait <state>', 'wait until it is this').choices(['live', 'ended']))
    .option('--timeout <duration>', 'how long to wait', '30s');
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
    if (wait !== undefined) tellWaited(session, { wait, timeout: options.timeout }, context);
  });
}

/** Why it is not what was waited for, and the exit code for that. With --json the session says it all. */
function tellWaited(
  session: SessionView,
  { wait, timeout }: { wait: string; timeout: string },
  { exitWith, global, terminal }: Context,
): void {
  const code = exitCodeOfWait(session, wait);
  exitWith(code);
  if (code !== 0 && global().json !== true)
    terminal.err(
      renderError(renderWaited(session, { wait, timeout }), `Look at \`curfew show ${session.id}\`.`),
    );
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
      if (found.nextCursor !== null) context.terminal.err('there are more; narrow the list or raise --limit');
    });
  program
    .command('show <id>')
    .description('the story of a session: what it is, what will end it, or why it ended')
    .action(async (id: string) => {
      const session = (await (
        await context.client()
      ).get(`/v1/sessions/${encodeURIComponent(id)}`)) as SessionView;
      context.show(session, () => renderShow(session, context.paint()));
    });
  program
    .command('logs <id>')
    .description('what its workers printed')
    .option('-f, --follow', 'go on until it has ended')
    .option('--tail-bytes <count>', 'from the end', String(HTTP.logBytes))
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
    .description('end sessions: these, or those that a filter names, or --all')
    .option('--all', 'every session')
    .option('--room <name>', 'those of this room')
    .option('--agent <name>', 'those of this agent')
    .option('--user <name>', 'those of this user')
    .option('--held', 'those whose end is held back because too many would end at once')
    .option('--dry-run', 'only show which')
    .option('--yes', 'do not ask')
    .option('--reason <text>', 'kept with the sessions')
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
  if (!hasFilter && all !== true) throw usage('release: name sessions, give a filter, or say --all');
  const client = await context.client();
  const body = { filter, all: all === true, detail: reason };
  const ask = async (dry: boolean) =>
    ((await client.post('/v1/sessions/release', { ...body, dryRun: dry })) as { sessions: SessionView[] })
      .sessions;
  const chosen = await ask(true);
  if (dryRun === true || chosen.length === 0) return chosen;
  if (options.yes === true) return ask(false);
  await confirm(chosen.length, context);
  // Exactly those that were asked about: others may have begun meanwhile.
  return releaseThese(
    chosen.map((one) => one.id),
    options,
    context,
  );
}

async function confirm(count: number, { terminal }: Context): Promise<void> {
  const sessions = plural(count, 'session');
  if (!terminal.isTty)
    throw usage(`release: ${sessions} would be ended`, 'Say --yes, or look first with --dry-run.');
  const answer = await terminal.ask(`End ${sessions}? [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim()))
    throw usage('release: nothing was ended', 'Answer y to end them, or say --yes.');
}
