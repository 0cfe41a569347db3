/** What the CLI shows of sessions and capacity. Pure: text from data. */
import type { CapacityView, SessionView } from '../api.ts';
import type { Paint } from './text.ts';
import { safe, span, table, wrap } from './text.ts';

const INDENT = 12;
const SHOWN_REPLACED = 3;

export function renderList(sessions: readonly SessionView[]): string {
  if (sessions.length === 0) return 'no sessions';
  return table(sessions, [
    { title: 'ID', columns: 22, text: (one) => one.id },
    { title: 'ROOM', columns: 32, shrinks: true, text: (one) => one.room },
    { title: 'STATE', columns: 8, text: (one) => one.state },
    { title: 'AGE', columns: 9, text: (one) => span(one.durationMs) },
    {
      title: 'CALLERS',
      columns: 7,
      text: (one) => (one.presence === null ? '-' : String(one.presence.callers)),
    },
    { title: 'REASON', columns: 16, text: (one) => one.reason ?? '' },
  ]);
}

/** A session's story: what it is, who is there, what will end it next, or why it ended. */
export function renderShow(session: SessionView, paint: Paint): string {
  const lines = [
    heading(session, paint),
    ...basics(session),
    ...whoIsThere(session),
    ...(session.evidence === null ? whatIsNext(session) : whyEnded(session)),
  ];
  return lines.join('\n');
}

function line(name: string, text: string): string {
  return `  ${name.padEnd(INDENT - 2)}${wrap(safe(text), INDENT)}`;
}

function heading({ id, state, reason }: SessionView, paint: Paint): string {
  const colour =
    state === 'failed' ? 'red' : state === 'released' ? 'dim' : state === 'live' ? 'green' : 'yellow';
  return `${paint('bold', safe(id))}  ${paint(colour, reason === null ? state : `${state}: ${reason}`)}`;
}

function basics(session: SessionView): string[] {
  const { user, labels, resources } = session;
  const tags = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  const size =
    resources === null
      ? ''
      : `, ${Math.round(resources.rssBytes / 1024 ** 2)} MB, ${Math.round(resources.cpuPercent)} % of a core`;
  return [
    line('room', session.room),
    line(
      'agent',
      `${session.agent}${user === null ? '' : `, for user ${user}`}${tags.length > 0 ? ` (${tags.join(', ')})` : ''}`,
    ),
    line('times', timesText(session)),
    line(
      'worker',
      session.pid === null
        ? 'no process'
        : `pid ${session.pid}${size}${session.restarts > 0 ? `, replaced ${session.restarts} times` : ''}${exitText(session)}`,
    ),
    ...replacedLines(session),
    line(
      'errors',
      `${session.errors.consecutive} in a row of ${session.errors.limit} allowed, ${session.errors.total} in all`,
    ),
  ];
}

/** The newest last. */
function replacedLines({ replaced }: SessionView): string[] {
  return replaced
    .slice(-SHOWN_REPLACED)
    .map(({ worker, reason, cause, detail, at }) =>
      line('replaced', `${worker} ${clock(at)}: ${reason} (${cause})${detail === null ? '' : `: ${detail}`}`),
    );
}

function timesText({ createdAt, startedAt, liveAt, endedAt, durationMs }: SessionView): string {
  const parts = [`asked for ${clock(createdAt)}`];
  if (startedAt !== null) parts.push(`started ${clock(startedAt)}`);
  if (liveAt !== null) parts.push(`live ${clock(liveAt)}`);
  if (endedAt !== null) parts.push(`ended ${clock(endedAt)}`);
  return `${parts.join(', ')} (${span(durationMs)})`;
}

/** The time of day, UTC; the day stands in --json. */
function clock(iso: string): string {
  return `${iso.slice(11, 19)}Z`;
}

function exitText({ exit }: SessionView): string {
  if (exit === null) return '';
  if (exit.signal !== null) return `, ended by ${exit.signal}`;
  return exit.code === null ? ', gone, exit status unknown' : `, exited with ${exit.code}`;
}

function whoIsThere({ presence }: SessionView): string[] {
  if (presence === null) return [line('presence', 'not known')];
  const { callers, ringing, agents, asOf, source } = presence;
  const phones = ringing > 0 ? `, ${plural(ringing, 'phone')} ringing` : '';
  return [
    line(
      'presence',
      `${plural(callers, 'caller')}${phones}, ${plural(agents, 'agent')} (by ${source}, ${clock(asOf)})`,
    ),
  ];
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

function whatIsNext({ deadlines, held }: SessionView): string[] {
  const lines = deadlines.map((one, index) =>
    line(index === 0 ? 'next' : '', `${one.kind} in ${span(one.inMs)} (${clock(one.at)})`),
  );
  if (held !== null)
    lines.push(
      line(
        'held',
        `${held.reason} is held back: too many would end at once; looked at afresh at ${clock(held.until)}`,
      ),
    );
  return lines;
}

function whyEnded({ evidence, reason }: SessionView): string[] {
  if (evidence === null) return [];
  const by = evidence.by === null ? '' : ` by ${evidence.by}`;
  const detail = evidence.detail === null ? '' : `: ${evidence.detail}`;
  return [
    line('why', `${reason}, decided by ${evidence.cause}${by} at ${clock(evidence.at)}${detail}`),
    ...evidence.ladder.map((step, index) => line(index === 0 ? 'ladder' : '', stepText(step))),
    ...(evidence.room === null ? [] : [line('the room', `${evidence.room.action}: ${evidence.room.why}`)]),
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
  return `${clock(startedAt)} ${step.padEnd(12)} ${took}${detail === null ? '' : ` (${detail})`}`;
}

export function renderCapacity(capacity: CapacityView, paint: Paint): string {
  const { quotas, queue, sessions, livekit, registry, jobs, warm, unkillable, held } = capacity;
  const counts = Object.entries(sessions).filter(([, count]) => count > 0);
  return [
    `${paint('bold', safe(capacity.host))}  ${capacity.accepting ? paint('green', 'accepting') : paint('yellow', capacity.draining === null ? 'not accepting' : 'draining')}`,
    ...quotas.map((one) => line(one.name, `${one.used} of ${one.limit}`)),
    line('queue', `${queue.length} of ${queue.limit}`),
    line(
      'sessions',
      counts.length === 0 ? 'none' : counts.map(([state, count]) => `${count} ${state}`).join(', '),
    ),
    line('LiveKit', livekitText(livekit)),
    ...warm.map((one) => line(`warm ${safe(one.agent)}`, warmText(one))),
    ...jobs.map((one) => line(`agent "${safe(one.agentName)}"`, jobsText(one))),
    line('registry', registry.writable ? 'writable' : `not writable: ${registry.error}`),
    ...(registry.setAside === null ? [] : [line('', `a damaged database was put to ${registry.setAside}`)]),
    ...unkillable.map((one) =>
      line('unkillable', `${one.session}, pid ${one.pid ?? 'unknown'}: holds its slot until it is gone`),
    ),
    ...held.map((one) =>
      line('held', `${one.session}: ${one.reason}, looked at afresh at ${clock(one.until)}`),
    ),
  ].join('\n');
}

function warmText({ ready, wanted, starting, crashes, lastCrash }: CapacityView['warm'][number]): string {
  const begun = starting === 0 ? '' : `, ${starting} starting`;
  const crashed = crashes === 0 ? '' : `, ${crashes} died in a row: ${safe(lastCrash ?? '')}`;
  return `${ready} of ${wanted} ready${begun}${crashed}`;
}

/** How LiveKit's own dispatch finds the agent of that name. */
function jobsText({ state, since, error }: CapacityView['jobs'][number]): string {
  if (state === 'registered') return `registered since ${clock(since)}`;
  return `not registered since ${clock(since)}${error === null ? '' : `: ${safe(error)}`}`;
}

function livekitText({ configured, reachable, since, error }: CapacityView['livekit']): string {
  if (!configured) return 'not configured';
  if (reachable === null || since === null) return 'not asked yet';
  return reachable
    ? `answers since ${clock(since)}`
    : `does not answer since ${clock(since)}: ${error ?? ''}`;
}
