/** The work of the runtime. Each effect is idempotent or guarded, and answers with an event. */
import type { RoomKey, SessionId, WorkerId } from '../ids.ts';
import type { RoomWatch } from '../rooms/kept-room.ts';
import type { Usable } from './agent-answer.ts';
import type { SupervisorMessage } from './control-protocol.ts';
import type { Reason } from './reasons.ts';

export type Effect =
  /** Start the session's worker. Needs a durable record first; answers `spawned` or `spawn_failed`. */
  | { readonly do: 'spawn'; readonly workerId: WorkerId; readonly attempt: number }
  /** Give a waiting worker its room. The worker says `ready` when it has the room. A LiveKit agent is offered its job: answers `answered`. */
  | { readonly do: 'assign'; readonly workerId: WorkerId }
  /** Give a LiveKit agent that accepted its job its room. `notes`: lines for the worker's log. */
  | ({ readonly do: 'admit'; readonly workerId: WorkerId } & Usable)
  | { readonly do: 'tell'; readonly workerId: WorkerId; readonly message: SupervisorMessage }
  /** Signal the tree and poll it. Each process gets one TERM at most, over restarts too. Answers `tree` when the tree is gone. `to`: the main process alone; absent: all. */
  | {
      readonly do: 'signal';
      readonly workerId: WorkerId;
      readonly signal: 'SIGTERM' | 'SIGKILL';
      readonly to?: 'main';
    }
  /** Scan for processes that a dead worker left: answers `tree`. */
  | { readonly do: 'reap'; readonly workerId: WorkerId }
  | {
      readonly do: 'remove_agent';
      readonly room: RoomKey;
      readonly identity: string;
      readonly boundMs: number;
    }
  /** Only if the room still has this sid. */
  | {
      readonly do: 'close_room';
      readonly room: RoomKey;
      readonly roomSid: string | null;
      readonly boundMs: number;
    }
  /** Poll the room now: answers `room_snapshot` unless LiveKit is unreachable. */
  | { readonly do: 'poll_room' }
  /** Ask the host-wide budget for an inferred ending: answers `budget`. `again`: it was held, and a new poll confirmed it. */
  | { readonly do: 'ask_budget'; readonly reason: Reason; readonly again: boolean }
  /** Report the state of the job to LiveKit. */
  | {
      readonly do: 'report_job';
      readonly jobId: string;
      readonly status: 'running' | 'success' | 'failed';
      readonly error: string | null;
    }
  /** The call is refused after all. A phone in its room is treated as for any refused call. */
  | { readonly do: 'refuse_call'; readonly room: RoomKey; readonly ownJob: string | null }
  /** A kept room goes on without a session. Watch it until one caller is alone. */
  | { readonly do: 'watch_room'; readonly watch: RoomWatch }
  /** No caller that returns after this session gets another one. */
  | { readonly do: 'unwatch_room'; readonly room: RoomKey; readonly session: SessionId };

/** The next state, and the effects that follow from it. */
export interface Decision<S> {
  readonly state: S;
  readonly effects: readonly Effect[];
}
