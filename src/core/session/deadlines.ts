/** The deadlines of one session: which are armed, when the next one wants a tick, and what those that have passed do. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import { requestPoll } from '../model/request-poll.ts';
import type { PhaseName, Session } from '../model/session.ts';
import { isIn } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, stay } from '../model/updates.ts';
import type { DeadlineKind, DeadlineRule } from './deadline-table.ts';
import { DEADLINE_TABLE } from './deadline-table.ts';

export interface Deadline {
  readonly kind: DeadlineKind;
  readonly atMs: number;
  /** Whether the API shows it. */
  readonly shown: boolean;
  readonly decidedBy: 'clock' | 'poll';
}

interface Armed extends Deadline {
  readonly rule: DeadlineRule<PhaseName>;
}

/** Soonest first. */
export function deadlines(session: Session): Deadline[] {
  return armedIn(session).map(({ rule: _rule, ...deadline }) => deadline);
}

/** When the session wants its next `tick`; null: nothing is pending. */
export function nextTickMs(session: Session, nowMs: number): number | null {
  let soonestMs: number | null = null;
  // Asked after every event: so no list is made.
  for (const [, rule] of RULES[session.phase.name]) {
    const dueMs = isSkipped(session, rule) ? null : rule.armed(session);
    if (dueMs === null) continue;
    const atMs = rule.decidedBy === 'poll' ? pollAtMs(session, dueMs, nowMs) : dueMs;
    if (soonestMs === null || atMs < soonestMs) soonestMs = atMs;
  }
  return soonestMs;
}

/** Acts on every deadline that has passed, until one of them changes the phase. */
export function actOnDue(session: Session, now: Stamp): Next {
  const due = armedIn(session).filter((one) => one.atMs <= now.bootMs);
  const ordered = [...due.filter((one) => one.rule.isFirst), ...due.filter((one) => !one.rule.isFirst)];
  return ordered.reduce<Next>(
    (next, one) =>
      andThen(next, (state) => (isIn(state, session.phase.name) ? act(state, one, now) : stay(state))),
    stay(session),
  );
}

/** Acts on the deadline that a snapshot decides. `asOfMs`: when its poll was sent. null: no such deadline was due by then. */
export function actOnSnapshot(session: Session, asOfMs: number, now: Stamp): Next | null {
  const polled = allArmedIn(session).filter((one) => one.decidedBy === 'poll');
  const decided = polled.find((one) => asOfMs >= one.atMs);
  return decided === undefined ? null : decided.rule.on(session, now);
}

function act(session: Session, { rule, atMs }: Armed, now: Stamp): Next {
  return rule.decidedBy === 'poll' ? requestPoll(session, atMs, now) : rule.on(session, now);
}

function armedIn(session: Session): Armed[] {
  return allArmedIn(session).filter((one) => !isSkipped(session, one.rule));
}

/** While an ending waits for the budget no poll is asked for. */
function isSkipped({ phase }: Session, { decidedBy }: DeadlineRule<PhaseName>): boolean {
  return decidedBy === 'poll' && phase.name === 'live' && phase.inference !== null;
}

function allArmedIn(session: Session): Armed[] {
  const found: Armed[] = [];
  for (const [kind, rule] of RULES[session.phase.name]) {
    const atMs = rule.armed(session);
    if (atMs !== null) found.push({ kind, atMs, shown: rule.shown, decidedBy: rule.decidedBy, rule });
  }
  return found.sort((a, b) => a.atMs - b.atMs);
}

/** The table as lists. The compiler cannot see that the rules under a session's own phase take that session. */
const RULES = Object.fromEntries(
  Object.entries(DEADLINE_TABLE).map(([phase, rules]) => [phase, Object.entries(rules)]),
) as unknown as Readonly<Record<PhaseName, readonly (readonly [DeadlineKind, DeadlineRule<PhaseName>])[]>>;

function pollAtMs({ presence, vitals }: Session, dueMs: number, nowMs: number): number {
  // While LiveKit is unreachable no poll can be asked for. Its return is an event.
  if (!presence.reachable) return Number.POSITIVE_INFINITY;
  const { pollAskedMs } = vitals;
  if (dueMs > nowMs || pollAskedMs === null || pollAskedMs < dueMs) return dueMs;
  return pollAskedMs + DEADLINES.pollAgainMs;
}
