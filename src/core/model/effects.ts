/** What the core wants done. Each is idempotent or guarded, and answers with an event. */
import type { RoomKey, WorkerId } from '../ids.ts';
import type { RoomWatch } from '../rooms/kept-room.ts';
import type { SupervisorMessage } from './control-protocol.ts';
import type { Reason } from './reasons.ts';

export type Effect =
  /** Start the session's worker. Needs a durable record first; answers `spawned` or `spawn_failed`. */
  | { readonly do: 'spawn'; readonly workerId: WorkerId; readonly attempt: number }
  /** Give the worker that is waiting for it its room; it says `ready` when it has it. */
  | { readonly do: 'assign'; readonly workerId: WorkerId }
  | { readonly do: 'tell'; readonly workerId: WorkerId; readonly message: SupervisorMessage }
  /** Signal the whole tree, descendants included, and watch it: answers `tree` when it is gone. */
  | { readonly do: 'signal'; readonly workerId: WorkerId; readonly signal: 'SIGTERM' | 'SIGKILL' }
  /** Look at what the dead worker left: answers `tree`. */
  | { readonly do: 'reap'; readonly workerId: WorkerId }
  | {
      readonly do: 'remove_agent';
      readonly room: RoomKey;
      readonly identity: string;
      readonly boundMs: number;
    }
  /** Only if the room still is the one with this sid. */
  | {
      readonly do: 'close_room';
      readonly room: RoomKey;
      readonly roomSid: string | null;
      readonly boundMs: number;
    }
  /** Look at the room now: answers `observed` unless LiveKit is away. */
  | { readonly do: 'poll_room' }
  /** Ask the host-wide budget for an inferred ending: answers `budget`. `again`: it was held and still holds. */
  | { readonly do: 'ask_budget'; readonly reason: Reason; readonly again: boolean }
  /** Tell LiveKit how its job goes. */
  | {
      readonly do: 'report_job';
      readonly jobId: string;
      readonly status: 'running' | 'success' | 'failed';
      readonly error: string | null;
    }
  /** The call is not taken after all: what becomes of a phone in its room is decided as for any that was refused. */
  | { readonly do: 'refuse_call'; readonly room: RoomKey; readonly ownJob: string | null }
  /** A kept room goes on without a session: watch it until one is alone. */
  | { readonly do: 'watch_room'; readonly watch: RoomWatch };

/** The next state of a machine and what is to be done about it. */
export interface Decision<S> {
  readonly state: S;
  readonly effects: readonly Effect[];
}
