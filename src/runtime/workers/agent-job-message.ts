/** The job as a LiveKit agent sees it: LiveKit's own message, or for other dispatches the same message from what LiveKit says of the room. */
import type { JobMessage } from '../../core/model/job-options.ts';
import { metadataText } from '../../core/model/job-options.ts';
import type { Session } from '../../core/model/session.ts';
import { workerOf } from '../../core/model/session.ts';
import { JOB_SOURCE } from '../../lib/limits/livekit-limits.ts';
import type { Rooms } from '../../ports/rooms.ts';
import type { StandInJob } from '../../ports/stand-in.ts';

export async function makeAgentJob(session: Session, rooms: Rooms | null): Promise<StandInJob> {
  const { spec, config } = session;
  const attempt = String(workerOf(session)?.attempt ?? 1);
  const metadata = metadataText(config.metadata);
  return {
    id: spec.job?.id ?? spec.id,
    message: await messageFor(session, rooms),
    // Metadata that was changed since the dispatch replaces the job's own.
    metadata: spec.job == null || config.rev > 0 ? metadata : spec.job.metadata,
    attributes: { ...spec.job?.attributes, 'curfew.session': spec.id, 'curfew.attempt': attempt },
    agentName: spec.job?.agentName ?? spec.profile.agentName ?? '',
  };
}

async function messageFor(session: Session, rooms: Rooms | null): Promise<JobMessage> {
  const { spec, presence } = session;
  const sent = spec.job?.message;
  if (sent?.room !== undefined) return sent;
  const known = { name: spec.room.name, sid: presence.roomSid ?? '' };
  return { ...sent, room: (await describeRoom(session, rooms)) ?? known };
}

/** null: no such room exists, or LiveKit does not answer. The call does not wait for LiveKit. */
async function describeRoom({ spec }: Session, rooms: Rooms | null): Promise<JobMessage | null> {
  if (rooms === null) return null;
  return rooms.describe(spec.room, JOB_SOURCE.describeMs).catch(() => null);
}
