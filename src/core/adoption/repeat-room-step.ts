import type { Effect } from '../model/effects.ts';
import type { Session } from '../model/session.ts';

/**
 * Asks LiveKit again for the room step under way, because the answer went to the earlier supervisor.
 * Never twice in one life: a late second question would hit the room's next session.
 */
export function repeatRoomStep({ phase, presence, spec }: Session): Effect[] {
  if (phase.name !== 'closing') return [];
  const { room, agentIdentity: identity } = spec;
  const { removeAgentMs, closeRoomMs } = spec.profile.ladder;
  const { step } = phase.ladder.room;
  if (step === 'remove_agent') return [{ do: 'remove_agent', room, identity, boundMs: removeAgentMs }];
  if (step !== 'close_room') return [];
  return phase.ladder.roomEnd === null
    ? [{ do: 'poll_room' }]
    : [{ do: 'close_room', room, roomSid: presence.roomSid, boundMs: closeRoomMs }];
}
