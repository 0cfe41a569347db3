/** Text for sessions and capacity. Pure. */
import type { CapacityView } from '../api/host-schemas.ts';
import type { SessionView } from '../api/session-schemas.ts';
import { mebibytes } from '../core/memory-sample.ts';
import type { Column, Paint } from './terminal-text.ts';
import { displayWidth, outputColumns, pad, plural, safe, span, table, wrap } from './terminal-text.ts';

const GAP = 2;
/** Width of the column of names, in columns of the terminal. */
const NAMES_LEAST = 10;
const NAMES_MOST = 40;
const SHOWN_REPLACED = 3;

/** One line for each session. `available`: columns of the terminal. */
export function renderList(sessions: readonly SessionView[], available = outputColumns()): string {
  if (sessions.length === 0) return 'no sessions';
  const hasEnded = sessions.some((one) => one.endedAt !== null);
  const columns: Column<SessionView>[] = [
    { title: 'ID', columns: 22, text: (one) => one.id },
    { title: 'ROOM', columns: null, text: (one) => one.room },
    { title: 'STATE', columns: 8, text: (one) => one.state },
    { title: hasEnded ? 'LASTED' : 'AGE', columns: 9, text: (one) => span(one.durationMs) },
    hasEnded ? ENDED : CALLERS,
    { title: 'REASON', columns: 16, text: (one) => one.reason ?? '' },
  ];
  return table(sessions, columns, available);
}

const CALLERS: Column<SessionView> = {
  title: 'CALLERS',
  columns: 7,
  text: ({ presence }) => (presence === null ? '-' : String(presence.callers)),
};

/** Day and time, UTC. */
const ENDED: Column<SessionView> = {
  title: 'ENDED',
  columns: 12,
  text: ({ endedAt }) => (endedAt === null ? '-' : `${endedAt.slice(5, 10)} ${endedAt.slice(11, 16)}Z`),
};

/** One session: its data, its participants, and its next deadlines or its end. */
export function renderShow(session: SessionView, paint: Paint): string {
  const lines = [
    ...basics(session),
    ...presenceLines(session),
    ...(session.evidence === null ? nextLines(session) : endLines(session)),
  ];
  return [heading(session, paint), ...block(lines)].join('\n');
}

/** One sentence about a session that did not reach the state that `dispatch --wait` waited for. */
export function renderWaited(
  { id, state, reason, evidence }: SessionView,
  asked: { wait: string; timeout: string },
): string {
  if (reason === null || (state === 'closing' && asked.wait !== 'live'))
    return `${safe(id)} is still ${state} after ${safe(asked.timeout)}; the session goes on`;
  const why = evidence?.detail == null ? reason : `${reason}: ${firstLine(evidence.detail)}`;
  const when = asked.wait === 'live' ? 'ended before it was live' : 'failed';
  return `${safe(id)} ${when}: ${why}`;
}

/** A name and its text. An empty name continues the line above. */
type Line = readonly [name: string, text: string];

/** The column is as wide as the longest name up to a limit. A longer name gets its own line. */
function block(lines: readonly Line[]): string[] {
  const widths = lines.map(([name]) => displayWidth(safe(name)) + GAP).filter((width) => width <= NAMES_MOST);
  const column = Math.max(NAMES_LEAST, ...widths);
  const indent = GAP + column;
  return lines.map(([name, text]) => {
    const wrapped = wrap(safe(text), indent);
    if (displayWidth(safe(name)) + GAP <= column) return `  ${pad(safe(name), column)}${wrapped}`;
    return `  ${safe(name)}\n${' '.repeat(indent)}${wrapped}`;
  });
}

function heading({ id, state, reason, finishing }: SessionView, paint: Paint): string {
  const colour =
    state === 'failed' ? 'red' : state === 'released' ? 'dim' : state === 'live' ? 'green' : 'yellow';
  return `${paint('bold', safe(id))}  ${paint(colour, reason === null ? state : `${state}: ${reason}`)}${finishing ? ' (finishing)' : ''}`;
}

/** The message of a stack trace. --json and the worker's log have the rest. */
function firstLine(text: string): string {
  return text.trim().split('\n')[0] ?? '';
}

function optional<T>(value: T | null, line: (value: T) => Line): Line[] {
  return value === null ? [] : [line(value)];
}

function basics(session: SessionView): Line[] {
  const { user, labels, resources } = session;
  const tags = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  const size =
    resources === null
      ? ''
      : `, ${mebibytes(resources.memoryBytes)} (${resources.memoryMeasure}), ${Math.round(resources.cpuPercent)} % of a core`;
  return [
    ['room', session.room],
    [
      'agent',
      `${session.agent}${user === null ? '' : `, for user ${user}`}${tags.length > 0 ? ` (${tags.join(', ')})` : ''}`,
    ],
    ['times', timesText(session)],
    [
      'worker',
      session.pid === null
        ? 'no process'
        : `pid ${session.pid}${size}${session.restarts > 0 ? `, replaced ${plural(session.restarts, 'time')}` : ''}${exitText(session)}`,
    ],
    ...replacedLines(session),
    ...errorLines(session),
  ];
}

/** Because: beside the reason of an end, a count of 0 reads as a contradiction. */
function errorLines({ errors: { consecutive, limit, total }, evidence }: SessionView): Line[] {
  if (evidence !== null && total === 0) return [];
  return [['errors', `${consecutive} in a row of ${limit} allowed, ${total} in total`]];
}

/** The newest comes last. */
function replacedLines({ replaced }: SessionView): Line[] {
  const earlier = replaced.length - SHOWN_REPLACED;
  const shown = replaced
    .slice(-SHOWN_REPLACED)
    .map(
      ({ worker, reason, cause, detail, at }): Line => [
        'replaced',
        `${worker} ${clock(at)}: ${reason} (${cause})${detail === null ? '' : `: ${detail}`}`,
      ],
    );
  return earlier <= 0 ? shown : [['replaced', `${earlier} before these, see --json`], ...shown];
}

function timesText({ createdAt, startedAt, liveAt, endedAt, durationMs }: SessionView): string {
  const parts = [`requested ${clock(createdAt)}`];
  if (startedAt !== null) parts.push(`started ${clock(startedAt)}`);
  if (liveAt !== null) parts.push(`live ${clock(liveAt)}`);
  if (endedAt !== null) parts.push(`ended ${clock(endedAt)}`);
  return `${parts.join(', ')} (${span(durationMs)})`;
}

/** The time of day in UTC. --json also has the day. */
function clock(iso: string): string {
  return `${iso.slice(11, 19)}Z`;
}

function exitText({ exit }: SessionView): string {
  if (exit === null) return '';
  if (exit.signal !== null) return `, ended by ${exit.signal}`;
  return exit.code === null ? ', gone, exit status unknown' : `, exited with ${exit.code}`;
}

function presenceLines({ presence }: SessionView): Line[] {
  if (presence === null) return [['in room', 'unknown: no snapshot from LiveKit']];
  const { callers, ringing, agents, asOf, source } = presence;
  const phones = ringing > 0 ? `, ${plural(ringing, 'phone')} ringing` : '';
  return [
    [
      'in room',
      `${plural(callers, 'caller')}${phones}, ${plural(agents, 'agent')} (from a ${source} at ${clock(asOf)})`,
    ],
  ];
}

function nextLines({ deadlines, held }: SessionView): Line[] {
  const lines = deadlines.map(
    (one, index): Line => [
      index === 0 ? 'next' : '',
      `${one.kind} in ${span(one.inMs)} (${clock(one.at)})${one.kind === 'unresponsive' ? ', unless a heartbeat comes before' : ''}`,
    ],
  );
  if (held !== null)
    lines.push([
      'held',
      `curfew holds the end by ${held.reason}, because too many sessions would end at once; next check at ${clock(held.until)}`,
    ]);
  return lines;
}

function endLines({ evidence, reason }: SessionView): Line[] {
  if (evidence === null) return [];
  const by = evidence.by === null ? '' : ` by ${evidence.by}`;
  const detail = evidence.detail === null ? '' : `: ${firstLine(evidence.detail)}`;
  return [
    ['why', `${reason}, cause ${evidence.cause}${by} at ${clock(evidence.at)}${detail}`],
    ...evidence.ladder.map((step, index): Line => [index === 0 ? 'teardown' : '', stepText(step)]),
    ...optional(evidence.room, ({ action, why }) => ['the room', `${action}: ${why}`]),
  ];
}

function stepText({
  step,
  startedAt,
  tookMs,
  outcome,
  detail,
}: NonNullable<SessionView['evidence']>['ladder'][number]): string {
  const took = tookMs === null ? 'under way' : `${outcome ?? ''} after ${span(tookMs)}`;
  return `${clock(startedAt)} ${step.padEnd(12)} ${took}${detail === null ? '' : ` (${firstLine(detail)})`}`;
}

/** The host: limits and their use, then the state of each part. */
export function renderCapacity(capacity: CapacityView, paint: Paint): string {
  const { quotas, queue, load, sessions, livekit, registry, jobs, warm, unkillable, held, forwarding } =
    capacity;
  const counts = Object.entries(sessions).filter(([, count]) => count > 0);
  const heading = `host ${paint('bold', safe(capacity.host))}  ${capacity.accepting ? paint('green', 'accepting') : paint('yellow', capacity.draining === null ? 'not accepting' : 'draining')}`;
  const lines: Line[] = [
    ...quotas.map((one): Line => [one.name, `${one.used} of ${one.limit}`]),
    ['queue', `${queue.length} of ${queue.limit}`],
    ['load', loadText(load)],
    [
      'sessions',
      counts.length === 0 ? 'none' : counts.map(([state, count]) => `${count} ${state}`).join(', '),
    ],
    ...optional(capacity.draining, (drain) => ['drain', drainText(drain)]),
    ['LiveKit', livekitText(livekit)],
    ...warm.map((one): Line => [`warm ${one.agent}`, warmText(one)]),
    ...(capacity.zygotes ?? []).map((one): Line => [`zygote ${one.agent}`, zygoteText(one)]),
    ...jobs.map((one): Line => [`agent "${one.agentName}"`, jobsText(one)]),
    ['registry', registry.writable ? 'writable' : `not writable: ${registry.error}`],
    ...optional(registry.setAside, (path) => ['', `the damaged database is now ${path}`]),
    ...optional(forwarding, (one) => ['forwarding', forwardingText(one)]),
    ...removedLines(capacity.removedAgents),
    ...unkillable.map(
      (one): Line => [
        'unkillable',
        `${one.session}, pid ${one.pid ?? 'unknown'}: it survived SIGKILL, and holds its slot until it ends`,
      ],
    ),
    ...held.map((one): Line => ['held', `${one.session}: ${one.reason}, next check at ${clock(one.until)}`]),
  ];
  return [heading, ...block(lines)].join('\n');
}

/** Only what a person should know: agents that come back. */
function removedLines(removed: CapacityView['removedAgents']): Line[] {
  if (removed == null || removed.removedAgain === 0) return [];
  const closed = removed.roomsClosed === 0 ? '' : `, ${removed.roomsClosed} rooms of theirs closed`;
  return [['removed', `agents of ended sessions came back ${removed.removedAgain} times${closed}`]];
}

function forwardingText({ to, dropped, workers, error }: NonNullable<CapacityView['forwarding']>): string {
  const names = workers.length === 0 ? '' : ` (${workers.map((one) => safe(one.worker)).join(', ')})`;
  const slow = dropped.lines === 0 ? '' : `, ${dropped.lines} lines dropped (${mebibytes(dropped.bytes)})`;
  const cut = dropped.cutBytes === 0 ? '' : `, ${mebibytes(dropped.cutBytes)} cut before curfew read it`;
  const lost = slow + cut + (slow + cut === '' ? '' : names);
  return `logs to ${to}${lost}${error === null ? '' : `, not written: ${safe(error)}`}`;
}

function drainText({ by, since, leftMs }: NonNullable<CapacityView['draining']>): string {
  const left = leftMs === null ? '' : `, curfew releases the rest in ${span(leftMs)}`;
  return `begun by ${by} at ${clock(since)}${left}`;
}

function warmText({
  ready,
  wanted,
  starting,
  crashes,
  lastCrash,
  startsAgainInMs,
}: CapacityView['warm'][number]): string {
  const begun = starting === 0 ? '' : `, ${starting} starting`;
  const crashed = crashes === 0 ? '' : `, ${crashes} crashed in a row: ${lastCrash ?? ''}`;
  const next =
    startsAgainInMs === null || ready + starting >= wanted ? '' : `, next in ${span(startsAgainInMs)}`;
  return `${ready} of ${wanted} ready${begun}${next}${crashed}`;
}

/** A supervisor of an older version has no zygotes. */
function zygoteText({ ready, starting, cold, old }: CapacityView['zygotes'][number]): string {
  const begun = starting === 0 ? '' : `, ${starting} starting`;
  if (cold !== null) return `workers start cold: ${safe(cold)}${begun}`;
  const failed = old === null ? '' : `, with older code, because its renewal failed: ${safe(old)}`;
  return `${ready} ready${begun}${failed}`;
}

/** The registration of an agent name with LiveKit's own dispatch. */
function jobsText({ state, since, error }: CapacityView['jobs'][number]): string {
  if (state === 'registered') return `registered since ${clock(since)}`;
  return `not registered since ${clock(since)}${error === null ? '' : `: ${safe(error)}`}`;
}

function livekitText({ configured, reachable, since, error }: CapacityView['livekit']): string {
  if (!configured) return 'not configured';
  if (reachable === null || since === null) return 'no request was sent yet';
  return reachable
    ? `answers since ${clock(since)}`
    : `does not answer since ${clock(since)}: ${error ?? ''}`;
}

function loadText({
  cpuPercent,
  cpuLimitPercent,
  memoryFreePercent,
  memoryFreeLimitPercent,
  over,
}: CapacityView['load']): string {
  const bound = (word: string, percent: number | null) =>
    percent === null ? 'limit off' : `${word} ${percent} %`;
  const cpu = `cpu ${cpuPercent} % (${bound('at most', cpuLimitPercent)})`;
  const free = memoryFreePercent === null ? 'unknown' : `${memoryFreePercent} %`;
  const text = `${cpu}, memory ${free} free (${bound('at least', memoryFreeLimitPercent)})`;
  return over.length === 0 ? text : `${text}; new calls wait: ${over.join(', ')}`;
}
