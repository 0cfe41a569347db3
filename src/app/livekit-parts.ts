/** The parts of a supervisor that need LiveKit: rooms, LiveKit's dispatch, and the stand-in for LiveKit's own agents. */
import type { Config } from '../adapters/config/config.ts';
import { livekitOf } from '../adapters/config/config.ts';
import { VERSION } from '../lib/version.ts';
import type { Clock } from '../ports/clock.ts';
import type { Instance } from '../ports/instance.ts';
import type { Jobs } from '../ports/jobs.ts';
import type { Log } from '../ports/log.ts';
import type { Rooms } from '../ports/rooms.ts';
import type { StandIn } from '../ports/stand-in.ts';
import { readEnvFile } from '../process/env-file.ts';

/** All null, or none. */
interface LiveKitParts {
  readonly rooms: Rooms | null;
  readonly jobs: Jobs | null;
  readonly standIn: StandIn | null;
}

/** Loads LiveKit's modules only if LiveKit is configured, because they take the most time of a start. */
export async function livekitParts(
  { livekit, agents, presence }: Config,
  more: { instance: Instance; clock: Clock; log: Log; current: () => Config },
): Promise<LiveKitParts> {
  const { instance, clock, log, current } = more;
  if (livekit === null) return { rooms: null, jobs: null, standIn: null };
  const [{ createRooms }, { createJobs }, { createStandIn }] = await Promise.all([
    import('../adapters/livekit/rooms/livekit-rooms.ts'),
    import('../adapters/livekit/jobs/livekit-jobs.ts'),
    import('../adapters/livekit/standin/standin-server.ts'),
  ]);
  // Also without any name, because a reload may add one.
  const agentNames = Object.values(agents).flatMap(({ agentName }) => agentName ?? []);
  return {
    rooms: createRooms({ livekit, clock, pollEveryMs: presence.pollEveryMs }),
    jobs: createJobs({ livekit, clock, log, agentNames, version: VERSION }),
    standIn: createStandIn({
      instance,
      log,
      livekit,
      port: 0,
      readEnvFile,
      livekitOf: (agent) => livekitOf(current(), agent),
    }),
  };
}

export async function closeLiveKit({ rooms, jobs, standIn }: LiveKitParts): Promise<void> {
  await Promise.allSettled([rooms?.close(), jobs?.close(), standIn?.close()]);
}
