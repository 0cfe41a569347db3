/** A crashed worker: replaced while a caller is there and the profile wants it, else the session's end. */
import { BACKOFF, DEADLINES } from '../../lib/limits/session-limits.ts';
import { WARM } from '../../lib/limits/worker-limits.ts';
import type { Stamp, WorkerId } from '../ids.ts';
import { workerIdOf } from '../ids.ts';
import type { Effect } from '../model/effects.ts';
import type { Ending, Session, SessionIn, Work, Worker } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, endingOf, newWorker, noteReplaced, stay, withPhase, withVitals } from '../model/updates.ts';
import { countSide } from '../rooms/presence.ts';
import { startTeardown } from '../teardown/teardown.ts';
import { countError } from './apply-event.ts';
import { crashPollEndMs } from './deadlines.ts';

type Live = SessionIn<'live'>;
type Replacing = Extract<Work, { kind: 'replacing' }>;
type Old = NonNullable<Replacing['old']>;
type Unsure = NonNullable<Replacing['unsure']> | null;

/** Counts the crash as an error; the limit of errors in a row ends a session that keeps crashing. */
export function crash(session: Live, ending: Ending, now: Stamp): Next {
  const { spec, phase } = session;
  if (phase.work.kind !== 'running') return stay(session);
  const { worker } = phase.work;
  const isSure = diedOnAssignment(worker, now) || (spec.profile.replace && callerThere(session));
  if (!isSure && !mayBeThere(session, now)) return startTeardown(session, ending, now);
  const counted = countError(session, ending.detail ?? ending.reason, now);
  if (counted.errors.consecutive >= spec.limits.errorLimit) {
    const detail = `${counted.errors.consecutive} errors in a row, the last: ${counted.errors.last}`;
    return startTeardown(counted, endingOf('error_limit', now, { cause: ending.cause, detail }), now);
  }
  if (isSure) return beginReplacing(noteReplaced(counted, worker.id, ending), { worker, unsure: null, now });
  const unsure = { ending, sinceMs: now.bootMs, worker };
  return andThen(beginReplacing(counted, { worker, unsure, now }), (state) =>
    stay(state, [{ do: 'poll_room' }]),
  );
}

/** One that was kept warm may have been broken for long: its call gets another one, whoever is there by now. */
function diedOnAssignment(worker: Worker, now: Stamp): boolean {
  return worker.warm === true && now.bootMs - worker.spawnedAt.bootMs <= WARM.provenMs;
}

function callerThere({ presence, spec }: Session): boolean {
  return spec.livekit && countSide(presence, spec.agentIdentity, 'caller') > 0;
}

/** A caller may have come since the last look: without webhooks that is up to a poll ago. */
function mayBeThere({ presence, spec }: Session, now: Stamp): boolean {
  const asOfMs = presence.asOf?.bootMs ?? Number.NEGATIVE_INFINITY;
  return spec.profile.replace && spec.livekit && presence.reachable && asOfMs < now.bootMs;
}

/** The next worker starts only when the whole old tree is gone. */
function beginReplacing(
  session: Live,
  { worker, unsure, now }: { worker: Worker; unsure: Unsure; now: Stamp },
): Next<Live> {
  const notBeforeMs = now.bootMs + backoffMs(session, worker.id);
  const step = firstStep(worker);
  const old = worker.treeGone ? null : { worker, step, deadlineMs: now.bootMs + boundMs(session, step) };
  const work: Work = { kind: 'replacing', attempt: worker.attempt + 1, notBeforeMs, old, unsure };
  return stay(withWork(session, work), old === null ? [] : stepEffects(old));
}

function firstStep(worker: Worker): Old['step'] {
  if (worker.exit !== null) return 'reap';
  return worker.process === null ? 'spawning' : 'term';
}

function stepEffects({ step, worker }: Old): Effect[] {
  switch (step) {
    case 'spawning':
      return [];
    case 'reap':
    case 'confirm':
      return [{ do: 'reap', workerId: worker.id }];
    case 'term':
      return [{ do: 'signal', workerId: worker.id, signal: 'SIGTERM' }];
    case 'kill':
      return [{ do: 'signal', workerId: worker.id, signal: 'SIGKILL' }];
  }
}

/** The old worker was born after it had missed its start: it gives way as any other. */
export function replaceLateSpawn(session: Live, work: Replacing, now: Stamp): Next {
  const { old } = work;
  return old?.step !== 'spawning'
    ? stay(session)
    : enterOld(session, work, { worker: old.worker, step: 'term', now });
}

function withWork(session: Live, work: Work): Live {
  const { phase } = session;
  const calm = withVitals(session, { heartbeatMs: null, dumpAskedMs: null });
  return {
    ...withPhase(calm, { ...phase, work, inference: null }),
    presence: { ...session.presence, agentGone: null, agentLeft: null },
  };
}

function boundMs({ spec }: Session, step: Old['step']): number {
  const { termMs, killMs } = spec.profile.ladder;
  if (step === 'spawning') return DEADLINES.spawnMs;
  if (step === 'confirm') return DEADLINES.confirmMs;
  return step === 'kill' ? killMs : termMs;
}

/** Exponential, with jitter from the worker's id so that many crashes at once do not come back at once. */
function backoffMs(session: Session, id: WorkerId): number {
  const base = Math.min(
    BACKOFF.maxMs,
    BACKOFF.firstMs * BACKOFF.factor ** Math.max(0, session.errors.consecutive - 1),
  );
  const spread =
    [...`${id}${session.restarts}`].reduce((sum, char) => (sum * 31 + (char.codePointAt(0) ?? 0)) % 1000, 7) /
    1000;
  return base * (1 + BACKOFF.jitter * (spread - 0.5));
}

/** News of the old tree. */
export function replaceTree(
  session: Live,
  work: Replacing,
  { left, now }: { left: number; now: Stamp },
): Next {
  if (work.old === null) return stay(session);
  if (work.old.worker.treeGone) {
    const unsure = work.unsure == null ? null : { ...work.unsure, worker: work.old.worker };
    return continueWith(session, { ...work, old: null, unsure }, now);
  }
  const isDecided = work.old.step === 'reap' || work.old.step === 'confirm';
  return left > 0 && isDecided ? escalate(session, work, now) : stay(session);
}

export function replaceTick(
  session: Live,
  work: Replacing,
  { kind, now }: { kind: string; now: Stamp },
): Next {
  return kind === 'replace' ? startIfDue(session, work, now) : escalate(session, work, now);
}

const NEXT_STEP = { reap: 'term', term: 'kill', kill: 'confirm' } as const;

function escalate(session: Live, work: Replacing, now: Stamp): Next {
  const { old } = work;
  if (old === null) return stay(session);
  if (old.step === 'confirm') {
    const detail = `worker ${old.worker.id} could not be killed, so none may take its place`;
    return startTeardown(session, endingOf('unkillable', now, { cause: 'deadline:kill', detail }), now);
  }
  if (old.step === 'spawning') {
    const detail = `worker ${old.worker.id} missed its start and its spawn is still under way`;
    return startTeardown(session, endingOf('start_timeout', now, { cause: 'deadline:spawn', detail }), now);
  }
  return enterOld(session, work, { worker: old.worker, step: NEXT_STEP[old.step], now });
}

function enterOld(
  session: Live,
  work: Replacing,
  { worker, step, now }: { worker: Worker; step: Old['step']; now: Stamp },
): Next<Live> {
  const old = { worker, step, deadlineMs: now.bootMs + boundMs(session, step) };
  return stay(withWork(session, { ...work, old }), stepEffects(old));
}

function startIfDue(session: Live, work: Replacing, now: Stamp): Next {
  const { unsure = null } = work;
  if (unsure !== null)
    return now.bootMs >= crashPollEndMs(unsure) ? leaveIt(session, { ...work, unsure }, now) : stay(session);
  if (work.old !== null || now.bootMs < work.notBeforeMs) return stay(session);
  const id = workerIdOf(session.spec.id, work.attempt);
  const worker = newWorker(session, { id, attempt: work.attempt, now });
  const next = withWork(session, { kind: 'running', worker });
  return stay({ ...next, restarts: session.restarts + 1 }, [
    { do: 'spawn', workerId: id, attempt: work.attempt },
  ]);
}

/** The work as it is now, and the next worker's start where nothing else is waited for. */
function continueWith(session: Live, work: Replacing, now: Stamp): Next {
  return startIfDue(withWork(session, work), work, now);
}

/** What the poll that a crash asked for has shown. */
export function replaceOnSnapshot(session: Live, work: Replacing, now: Stamp): Next {
  const { unsure = null } = work;
  if (unsure === null) return stay(session);
  if (callerThere(session)) {
    const noted = noteReplaced(session, unsure.worker.id, unsure.ending);
    return continueWith(noted, { ...work, unsure: null }, now);
  }
  const asOfMs = session.presence.asOf?.bootMs ?? Number.NEGATIVE_INFINITY;
  return asOfMs >= unsure.sinceMs ? leaveIt(session, { ...work, unsure }, now) : stay(session);
}

/** Nobody is there to hear another worker: the crash was the session's end, and the crashed worker is the one that it shows. */
function leaveIt(
  session: Live,
  { old, unsure }: { old: Old | null; unsure: NonNullable<Unsure> },
  now: Stamp,
): Next {
  const last = old === null ? withWork(session, { kind: 'running', worker: unsure.worker }) : session;
  return startTeardown(last, unsure.ending, now);
}

/** A supervisor that was away, or stood still, does the step under way again. */
export function repeatReplaceStep(session: Live, work: Replacing, now: Stamp): Next {
  if (work.old === null) return stay(session);
  const { step, worker } = work.old;
  const entered = enterOld(session, work, { worker, step, now });
  // Another supervisor may not have killed it: only what it killed is watched until it is gone.
  return step === 'confirm'
    ? stay(entered.state, [{ do: 'signal', workerId: worker.id, signal: 'SIGKILL' }])
    : entered;
}
