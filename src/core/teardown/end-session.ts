/** The end of a session: both tracks of its teardown are over. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import type { Effect } from '../model/effects.ts';
import type { PhaseOf, Session, SessionIn } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { enterPhase, stay } from '../model/updates.ts';
import { watchOf } from './rejoin-rule.ts';

export function endIfOver(session: SessionIn<'closing'>, now: Stamp): Next {
  const { phase, startedAt, liveAt } = session;
  const { ending, worker, ladder } = phase;
  if (ladder.process.step !== 'over' || ladder.room.step !== 'over') return stay(session);
  const ended = enterPhase<'ended'>(
    session,
    {
      name: 'ended',
      ending,
      worker,
      records: ladder.records,
      roomEnd: ladder.roomEnd,
      ...(ladder.claimPassed === true && { claimPassed: true }),
    },
    { startedAt, liveAt, endedAt: endOf(phase, now) },
  );
  return stay(ended, ladder.roomEnd?.action === 'watch' ? keepWatch(session, now) : []);
}

/** A worker can exit while no supervisor is there. Then its exit was the end, and the teardown only came late. */
function endOf({ ending, ladder }: PhaseOf<'closing'>, now: Stamp): Stamp {
  const begun = ladder.records[0]?.startedAt ?? now;
  return ending.cause === 'exit' && begun.bootMs - ending.at.bootMs > DEADLINES.gapCheckMs ? ending.at : now;
}

function keepWatch(session: Session, now: Stamp): Effect[] {
  const { roomSid } = session.presence;
  return roomSid === null ? [] : [{ do: 'watch_room', watch: watchOf(session, roomSid, now) }];
}
