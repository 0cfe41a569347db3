/** What a supervisor has of LiveKit: rooms, calls that LiveKit hands out, and the stand-in for agents made for it. All of it or nothing. */
import type { Config } from './config/config.ts';
import { VERSION } from './limits.ts';
import type { Clock, Instance, Log, Rooms, StandIn } from './ports.ts';
import type { Jobs } from './ports-jobs.ts';

interface LiveKitParts {
  readonly rooms: Rooms | null;
  readonly jobs: Jobs | null;
  readonly standIn: StandIn | null;
}

/** Its modules are the slowest of a start: loaded only where there is a LiveKit. */
export async function livekitParts(
  { livekit, agents, presence }: Config,
  { instance, clock, log }: { instance: Instance; clock: Clock; log: Log },
): Promise<LiveKitParts> {
  if (livekit === null) return { rooms: null, jobs: null, standIn: null };
  const [{ createRooms }, { createJobs }, { createStandIn }] = await Promise.all([
    import('./presence/rooms.ts'),
    import('./jobs/jobs.ts'),
    import('./standin/standin.ts'),
  ]);
  // Registered also with no name: a reload may bring one.
  const agentNames = Object.values(agents).flatMap(({ agentName }) => agentName ?? []);
  return {
    rooms: createRooms({ livekit, clock, pollEveryMs: presence.pollEveryMs }),
    jobs: createJobs({ livekit, clock, log, agentNames, version: VERSION }),
    standIn: createStandIn({ instance, log, livekit, port: 0, environment: process.env }),
  };
}

export async function closeLiveKit({ rooms, jobs, standIn }: LiveKitParts): Promise<void> {
  await Promise.allSettled([rooms?.close(), jobs?.close(), standIn?.close()]);
}
