/**
 * Adoption: a supervisor takes over a session of an earlier one. The host shows what became of the session's worker.
 * `classify` names the case. `adopt` decides the events that were not delivered, in the order in which they happened.
 */
import type { Stamp } from '../ids.ts';
import type { Found, SessionEvent } from '../model/events.ts';
import type { Session } from '../model/session.ts';
import { isEnded, workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, stay } from '../model/updates.ts';
import type { Worker } from '../model/worker.ts';
import { channelOf, processOf } from '../model/worker.ts';
import { repeatRoomStep } from '../teardown/room-track.ts';

/**
 * - `host_lost`: the session began before a reboot.
 * - `between_workers`: it has no worker now: it waits, or its worker's tree was gone already.
 * - `not_searched`: the worker could not be searched for; the next try brings the event again.
 * - `reserved_alive`, `reserved_gone`: the warm worker that a queued session was promised.
 * - `never_started`: only the intent to start was recorded, and the start is voided.
 * - `alive`, `exited`: the worker runs, or ended while no supervisor was there.
 * - `unkillable_alive`, `unkillable_gone`: the session has ended, but nothing had killed its worker.
 */
export type AdoptionCase =
  | 'host_lost'
  | 'between_workers'
  | 'not_searched'
  | 'reserved_alive'
  | 'reserved_gone'
  | 'never_started'
  | 'alive'
  | 'exited'
  | 'unkillable_alive'
  | 'unkillable_gone';

export function classify(session: Session, found: Found): AdoptionCase {
  if (found.kind === 'not_searched') return 'not_searched';
  if (isEnded(session)) return found.kind === 'present' ? 'unkillable_alive' : 'unkillable_gone';
  switch (found.kind) {
    case 'other_boot':
      return 'host_lost';
    case 'no_worker':
      return 'between_workers';
    case 'absent':
      return session.phase.name === 'queued' ? 'reserved_gone' : 'never_started';
    case 'present':
      if (session.phase.name === 'queued') return 'reserved_alive';
      return found.exit === null ? 'alive' : 'exited';
  }
}

type Decide = (session: Session, event: SessionEvent, now: Stamp) => Next;

export function decideAdopted(
  session: Session,
  { found, retryOf }: Extract<SessionEvent, { type: 'adopted' }>,
  { now, decide }: { now: Stamp; decide: Decide },
): Next {
  // Race: another worker can have taken the call while the search for the first one was repeated.
  if (retryOf !== null && retryOf !== workerOf(session)?.id) return stay(session);
  const begun = retryOf === null ? repeatRoomStep(session, now) : stay(session);
  const happened = (next: Next, ...events: readonly (SessionEvent | null)[]) =>
    events.reduce(
      (known, event) => andThen(known, (state) => (event === null ? stay(state) : decide(state, event, now))),
      next,
    );
  // Nothing was heard or seen meanwhile: silence, absence and steps count from now.
  const restart: SessionEvent = { type: 'gap', gapMs: 0 };
  const kind = classify(session, found);
  switch (kind) {
    case 'host_lost':
      return happened(stay(session), { type: 'host_lost' });
    case 'unkillable_alive':
      return stay(session, killAgain(session));
    case 'unkillable_gone':
      return happened(stay(session), treeGone(session));
    case 'between_workers':
    case 'not_searched':
      return happened(begun, restart);
    case 'reserved_gone':
      // LiveKit has forgotten the assignment that it had promised to the earlier connection.
      return happened(begun, reservedExit(session, now), { type: 'assigned' }, restart);
    case 'reserved_alive':
      return andThen(happened(begun, { type: 'assigned' }), (state) =>
        happened(stay(state), ...missed(state, found), restart),
      );
    case 'never_started':
      return happened(begun, notStarted(session), channelLost(workerOf(session), false), restart);
    case 'alive':
    case 'exited':
      return happened(begun, ...missed(session, found), restart);
  }
}

/** Before any deadline: what came first is the cause. */
function missed(session: Session, found: Found): (SessionEvent | null)[] {
  const worker = workerOf(session);
  if (worker === null || found.kind !== 'present') return [];
  const { process, exit, isMute } = found;
  return [
    processOf(worker) === null ? { type: 'spawned', workerId: worker.id, process } : null,
    exit === null ? null : { type: 'exited', workerId: worker.id, exit },
    channelLost(worker, isMute),
  ];
}

function channelLost(worker: Worker | null, isMute: boolean): SessionEvent | null {
  if (worker === null || channelOf(worker) === 'none') return null;
  return { type: 'channel', workerId: worker.id, open: false, ...(isMute && { mute: true }) };
}

function reservedExit({ phase }: Session, now: Stamp): SessionEvent | null {
  if (phase.name !== 'queued' || phase.grant === null) return null;
  return { type: 'exited', workerId: phase.grant.workerId, exit: { code: null, signal: null, at: now } };
}

/** An accepted call is started after all. A replacement counts its try. */
function notStarted(session: Session): SessionEvent | null {
  const worker = workerOf(session);
  if (worker === null) return null;
  if (session.phase.name === 'starting') return { type: 'not_started', workerId: worker.id };
  return {
    type: 'spawn_failed',
    workerId: worker.id,
    detail: 'the supervisor ended before the worker was started',
  };
}

function treeGone(session: Session): SessionEvent | null {
  const worker = workerOf(session);
  return worker === null ? null : { type: 'tree', workerId: worker.id, left: 0 };
}

/** Only a signalled tree is watched until it is gone. */
function killAgain(session: Session): Next['effects'] {
  const worker = workerOf(session);
  return worker === null ? [] : [{ do: 'signal', workerId: worker.id, signal: 'SIGKILL' }];
}
