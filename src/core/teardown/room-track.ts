/** The room's track of a teardown: remove our agent → close the room, by its rule → over. */
import type { Stamp } from '../ids.ts';
import { holderOf } from '../model/agent-answer.ts';
import type { Effect } from '../model/effects.ts';
import type { Session, SessionIn } from '../model/session.ts';
import { isIn } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { stay, withVitals } from '../model/updates.ts';
import { decideRoomEnd } from './room-disposition.ts';
import type { Left } from './step-records.ts';
import { beginRecord, finishRecord, withLadder } from './step-records.ts';
import { ROOM_STEPS } from './steps.ts';

type Closing = SessionIn<'closing'>;

const PERSON_HAS_IT = { outcome: 'skipped', detail: 'a person has the identity of the agent' } as const;

/** A session that was never started, or has no LiveKit, has nothing to do in its room. */
export function beginRoom(session: Closing, now: Stamp): Next<Closing> {
  const { phase, spec, startedAt } = session;
  if (phase.ladder.room.step !== 'waiting') return stay(session);
  if (!spec.livekit || startedAt === null)
    return stay(withLadder(session, { room: { step: 'over', deadlineMs: now.bootMs } }));
  const boundMs = ROOM_STEPS.remove_agent.boundMs(spec.profile.ladder);
  const room = { step: 'remove_agent', deadlineMs: now.bootMs + boundMs } as const;
  const begun = beginRecord(withLadder(session, { room }), 'remove_agent', now);
  // LiveKit removes by identity alone. A person with the identity has thrown our agent out already.
  if (holderOf(spec.agentIdentity, session) === 'person')
    return beginCloseRoom(begun, { ...PERSON_HAS_IT, now });
  return stay(begun, [{ do: 'remove_agent', room: spec.room, identity: spec.agentIdentity, boundMs }]);
}

/** The last step begins with a poll, so that its rule is decided on the present participants. */
export function beginCloseRoom(session: Closing, left: Left): Next<Closing> {
  const { phase, spec } = session;
  if (phase.ladder.room.step !== 'remove_agent') return stay(session);
  const { now } = left;
  const deadlineMs = now.bootMs + ROOM_STEPS.close_room.boundMs(spec.profile.ladder);
  const done = finishRecord(session, 'remove_agent', left);
  const begun = beginRecord(
    withLadder(done, { room: { step: 'close_room', deadlineMs } }),
    'close_room',
    now,
  );
  return stay(withVitals(begun, { pollAskedMs: now.bootMs }), [{ do: 'poll_room' }]);
}

/** A snapshot that was asked for before the step began decides nothing. */
export function decideRoom(session: Closing, asOfMs: number, now: Stamp): Next<Closing> {
  const { room, records, roomEnd } = session.phase.ladder;
  const begun = records.findLast((record) => record.step === 'close_room');
  const isAwaited = room.step === 'close_room' && roomEnd === null && begun !== undefined;
  if (!isAwaited || asOfMs < begun.startedAt.bootMs) return stay(session);
  const decided = decideRoomEnd(session);
  const next = withLadder(session, { roomEnd: decided });
  if (decided.action !== 'close') return endRoom(next, { outcome: 'skipped', detail: decided.why, now });
  const { spec, presence } = session;
  const boundMs = Math.max(1, room.deadlineMs - now.bootMs);
  return stay(next, [{ do: 'close_room', room: spec.room, roomSid: presence.roomSid, boundMs }]);
}

export function endRoom(session: Closing, left: Left): Next<Closing> {
  if (session.phase.ladder.room.step !== 'close_room') return stay(session);
  const done = finishRecord(session, 'close_room', left);
  return stay(withLadder(done, { room: { step: 'over', deadlineMs: left.now.bootMs } }));
}

/** LiveKit did not answer within the bound of the step. */
export function escalateRoom(session: Closing, now: Stamp): Next<Closing> {
  const late = { outcome: 'timeout', detail: 'LiveKit did not answer in time', now } as const;
  const { step } = session.phase.ladder.room;
  return step === 'remove_agent' ? beginCloseRoom(session, late) : endRoom(session, late);
}

/** For a supervisor that takes a session over. Because: LiveKit's answer went to the supervisor before it. Race: a second question in one life would hit the room's next session. */
export function repeatRoomStep(session: Session, now: Stamp): Next {
  if (!isIn(session, 'closing')) return stay(session);
  const { step } = session.phase.ladder.room;
  // Race: a person took the identity while no supervisor was there.
  if (step === 'remove_agent' && holderOf(session.spec.agentIdentity, session) === 'person')
    return beginCloseRoom(session, { ...PERSON_HAS_IT, now });
  return stay(session, repeated(session));
}

function repeated({ phase, presence, spec }: Closing): Effect[] {
  const { room, agentIdentity: identity } = spec;
  const { ladder } = spec.profile;
  const { step } = phase.ladder.room;
  if (step === 'remove_agent')
    return [{ do: 'remove_agent', room, identity, boundMs: ROOM_STEPS.remove_agent.boundMs(ladder) }];
  if (step !== 'close_room') return [];
  return phase.ladder.roomEnd === null
    ? [{ do: 'poll_room' }]
    : [
        {
          do: 'close_room',
          room,
          roomSid: presence.roomSid,
          boundMs: ROOM_STEPS.close_room.boundMs(ladder),
        },
      ];
}
