/**
 * The facts of one call, by key. Two calls of the same scenario that went the same have the same facts.
 * Ids, ports, paths and times become placeholders, so that an id of LiveKit and an id of another's making differ.
 */
import type { Line, Played } from './play-call.ts';

export type Facts = ReadonlyMap<string, string>;

/** Variables that belong to the test or to the shell, not to a runner. */
const OF_THE_TEST = new Set([
  'TEST_DAEMON',
  'NODE_COMPILE_CACHE',
  'OBSERVER_NAME',
  'OBSERVER_PORT',
  'PWD',
  'OLDPWD',
  'SHLVL',
  '_',
  'HOME',
]);
/** Times and random values, which no two calls share. By chance the dispatch counts the caller and its track already. */
const NEVER_EQUAL =
  /(\.sid|_at|num_publishers|numPublishers|num_participants|numParticipants|turnPassword|startedAt|updatedAt|joinedAt|joinedAtMs|turn_password|\.version|\.out|\.iat|\.jti|creation_time_ms|creationTimeMs)$/;
/**
 * By chance: LiveKit's client in Rust logs a connection that a call's end cuts. So do a task, a callback, and an update of
 * the agent's state that begin then. The framework logs the exit code of a job's process when LiveKit notes the end.
 */
const BY_CHANCE =
  /^\w[\w:]*:\d+:|^Error in _init_task|^error running user callback for |^Failed to update agent state attributes|^process exited with non-zero exit code /;
/** The steps that make the course of a call. The order of the other steps depends on the moment. */
const COURSE = new Set([
  'request',
  'entry',
  'on_enter',
  'ends',
  'on_exit',
  'session_close',
  'on_session_end',
  'shutdown_begins',
  'shutdown_ends',
  'avatar',
  'recording',
  'no_recording',
  'tool_begins',
  'tool_ends',
  'summary_begins',
  'summary_ends',
]);
/**
 * Race: LiveKit ends the job of a room that goes away, and the room disconnects the agent. The framework names the first
 * of the two, also under LiveKit's own runner. Before 1.3 it has no name for the end by LiveKit.
 */
const FROM_OUTSIDE = new Set(['room disconnected', 'parent process shutdown', '']);
/** Race: in this call, too, the room goes away while the runner drains. The first of the two closes the AgentSession. */
const ENDS_BY_ROOM = 'term_main';
/** Race: LiveKit notes a success or "agent worker left the room", by the order of two messages of its own runner. */
const LEFT_THE_ROOM = 'agent worker left the room';

export function factsOf(played: Played): Facts {
  const facts = new Map<string, string>();
  const { scenario, lines } = played;
  const entry = lines.find(({ what }) => what === 'entry');
  if (scenario.name === 'plain' && entry !== undefined) addPlain(facts, played, entry);
  if (scenario.name === 'accept') flatten(facts, 'accept', asSeen(played.shown.participant));
  for (const [key, value] of course(played)) facts.set(`calls.${scenario.name}.${key}`, value);
  const plain = placeholders(played);
  return new Map(
    [...facts].filter(([key]) => !NEVER_EQUAL.test(key)).map(([key, value]) => [key, plain(value)]),
  );
}

function addPlain(facts: Map<string, string>, { lines, shown }: Played, entry: Line): void {
  const request = lines.find(({ what }) => what === 'request');
  const env = Object.entries(entry.env as Record<string, string>).filter(([name]) => !OF_THE_TEST.has(name));
  flatten(facts, 'env', Object.fromEntries(env));
  flatten(facts, 'request.env', request?.env);
  flatten(facts, 'request.job', request?.job);
  flatten(facts, 'job', entry.job);
  flatten(facts, 'info', entry.info);
  flatten(facts, 'claims', entry.claims);
  flatten(facts, 'room', lines.find(({ what }) => what === 'room')?.me);
  flatten(facts, 'participant', asSeen(shown.participant));
  for (const key of ['prewarmed', 'executor', 'cwd', 'loop', 'sigterm'])
    facts.set(`process.${key}`, String(entry[key]));
  for (const { probe, result } of lines.filter(({ what }) => what === 'probe'))
    facts.set(`api.${String(probe)}`, JSON.stringify(result));
  facts.set('api.avatar.seen', shown.beside.join());
}

/** Without the lists that change while somebody joins. */
function asSeen(participant: unknown): unknown {
  if (participant === null || typeof participant !== 'object') return participant;
  const { state: _, ...rest } = participant as Record<string, unknown>;
  return rest;
}

function flatten(facts: Map<string, string>, key: string, value: unknown): void {
  const isObject = value !== null && typeof value === 'object' && !Array.isArray(value);
  // An object without fields is a fact, too, and its fields have facts of their own.
  if (isObject) facts.set(key, 'an object');
  if (isObject) for (const [name, one] of Object.entries(value)) flatten(facts, `${key}.${name}`, one);
  else facts.set(key, typeof value === 'string' ? value : (JSON.stringify(value) ?? 'absent'));
}

function course({ scenario, lines, shown, isOver, log }: Played): [string, string][] {
  const steps = lines.filter(({ what }) => COURSE.has(what)).map((line) => stepOf(line, scenario.name));
  return [
    ['course', steps.join(' ')],
    ['is_over', String(isOver)],
    ['job_end', jobEnd(shown.jobEnd)],
    ['errors', errorsIn(log).join(' | ')],
    ...(scenario.file === undefined ? [] : inProduction(lines, shown)),
  ];
}

/** The agent of the usual shape shows more than its course. */
function inProduction(lines: readonly Line[], shown: Played['shown']): [string, string][] {
  const prompts = lines.flatMap(({ prompt }) => (prompt === undefined ? [] : [String(prompt)]));
  const { identity = '', name = '' } = (shown.participant ?? {}) as Record<string, unknown>;
  return [
    ['prompts', prompts.join()],
    ['agent', `${identity} ${name}`],
    ['beside', shown.beside.join()],
  ];
}

function stepOf({ what, reason }: Line, scenario: string): string {
  const isRace = what === 'session_close' && (scenario.includes('room') || scenario === ENDS_BY_ROOM);
  if (typeof reason !== 'string' || isRace) return what;
  return `${what}(${FROM_OUTSIDE.has(reason) ? 'from outside' : reason})`;
}

function jobEnd(end: Played['shown']['jobEnd']): string {
  if (end === null) return 'none';
  return end.status === 'JS_SUCCESS' || end.error === LEFT_THE_ROOM ? 'ended' : `${end.status} ${end.error}`;
}

/** The errors that the framework logs. */
function errorsIn(log: string): string[] {
  const found = log.split('\n').flatMap((line) => {
    try {
      const { level, message, msg } = JSON.parse(line) as Record<string, unknown>;
      const isError = level === 'ERROR' || level === 'CRITICAL' || Number(level) >= 50;
      const [first = ''] = String(message ?? msg).split('\n');
      return isError && !BY_CHANCE.test(first) ? [first] : [];
    } catch {
      return [];
    }
  });
  return [...new Set(found)].sort();
}

function placeholders({ shown, lines, agentName }: Played): (text: string) => string {
  const entry = lines.find(({ what }) => what === 'entry' || what === 'request');
  const jobId = (entry?.job as { id?: string } | undefined)?.id ?? '';
  const exact: [string, string][] = [
    [shown.room, '<room>'],
    [shown.roomSid, '<room sid>'],
    [shown.creationTime, '<creation time>'],
    ...shown.dispatchIds.map((id): [string, string] => [id, '<dispatch id>']),
    ...(/^AJ_\w+$/.test(jobId) ? [[jobId, '<job id>'] as [string, string]] : []),
  ];
  return (text) => {
    let plain = exact.reduce((all, [from, to]) => (from === '' ? all : all.replaceAll(from, to)), text);
    if (plain === agentName) plain = '<agent name>';
    return plain
      .replaceAll(/\/tmp\/curfew-conf-\w+/g, '<dir>')
      .replaceAll(/"AW_\w+"|^AW_\w+$/g, '<worker id>')
      .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:<port>');
  };
}
