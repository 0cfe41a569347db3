/** What a supervisor has of LiveKit: rooms, calls that LiveKit hands out, and the stand-in for agents made for it. All of it or nothing. */
import type { Config } from '../adapters/config/config.ts';
import { VERSION } from '../lib/version.ts';
import type { Clock } from '../ports/clock.ts';
import type { Instance } from '../ports/instance.ts';
import type { Jobs } from '../ports/jobs.ts';
import type { Log } from '../ports/log.ts';
import type { Rooms } from '../ports/rooms.ts';
import type { StandIn } from '../ports/stand-in.ts';

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
    import('../adapters/livekit/rooms/livekit-rooms.ts'),
    import('../adapters/livekit/jobs/livekit-jobs.ts'),
    import('../adapters/livekit/standin/standin-server.ts'),
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
