/** Everything that can happen to a session. The runtime delivers these events one at a time. */
import type { Metadata, WorkerId } from '../ids.ts';
import type { MemorySample } from '../memory-sample.ts';
import type { RoomSnapshot, RoomWebhook } from '../rooms/presence.ts';
import type { AgentAnswer } from './agent-answer.ts';
import type { WorkerMessage } from './control-protocol.ts';
import type { Actor, StepOutcome } from './session.ts';
import type { ExitInfo, WorkerProcess } from './worker.ts';

/** The worker of a session, as a starting supervisor finds it. */
export type Found =
  | { readonly kind: 'other_boot' }
  /** The session has no worker, or its worker's tree was gone on record. */
  | { readonly kind: 'no_worker' }
  /** The search failed, on a full disk for example. It is tried again. */
  | { readonly kind: 'not_searched' }
  /** Nothing of the worker is left, or it was never started and its start is void. */
  | { readonly kind: 'absent' }
  /** `isMute`: the worker's token is of an older key, so that it cannot connect. `exit` null: it runs, or its status is not known yet. */
  | {
      readonly kind: 'present';
      readonly process: WorkerProcess;
      readonly exit: ExitInfo | null;
      readonly isMute: boolean;
    };

export type SessionEvent =
  /** Admission granted claim and slots. The start rate allows the spawn from `startAtMs`. The session waits for LiveKit's assignment until `assignedByMs`. */
  | {
      readonly type: 'granted';
      readonly startAtMs: number;
      readonly assignedByMs?: number;
      readonly workerId: WorkerId;
      /** The warm worker that is reserved for the session. */
      readonly warm?: WorkerProcess;
    }
  /** Admission put the session into its queue: the first event of a session that waits. */
  | { readonly type: 'queued' }
  /** The session's first record could not be written: nothing was accepted. */
  | { readonly type: 'record_failed'; readonly detail: string }
  /** LiveKit has assigned the job of the session. */
  | { readonly type: 'assigned' }
  /** LiveKit has ended the job because its dispatch was deleted. */
  | { readonly type: 'job_terminated' }
  /** LiveKit never heard that the job was accepted. */
  | { readonly type: 'job_withdrawn'; readonly why: 'late' | 'unsent' }
  /** The time in the queue is over. `detail` names the quota or the holder of the claim. */
  | { readonly type: 'expired'; readonly detail: string }
  /** Time has passed: act on the deadlines. */
  | { readonly type: 'tick' }
  | { readonly type: 'spawned'; readonly workerId: WorkerId; readonly process: WorkerProcess }
  /** `isUnrecorded`: the start was not tried, because it could not be recorded. */
  | {
      readonly type: 'spawn_failed';
      readonly workerId: WorkerId;
      readonly detail: string;
      readonly isUnrecorded?: true;
    }
  /** A ready warm worker takes the place of the replacement `workerId`, whose start was not tried. */
  | {
      readonly type: 'warm_taken';
      readonly workerId: WorkerId;
      readonly warm: { readonly id: WorkerId; readonly process: WorkerProcess };
    }
  /** The running worker could not be given its room. */
  | { readonly type: 'assign_failed'; readonly workerId: WorkerId; readonly detail: string }
  /** The start was recorded and then voided, because the supervisor ended before it. */
  | { readonly type: 'not_started'; readonly workerId: WorkerId }
  /** The worker sent a valid hello, or its connection closed. `mute`: its token is of an older key, so that it cannot connect again. */
  | {
      readonly type: 'channel';
      readonly workerId: WorkerId;
      readonly open: boolean;
      readonly mute?: true;
    }
  /** The job of a LiveKit agent connected to the control socket: by curfew's launcher, or by a kit in the agent's own code. */
  | { readonly type: 'attached'; readonly workerId: WorkerId; readonly by: 'launcher' | 'code' }
  | { readonly type: 'message'; readonly workerId: WorkerId; readonly message: WorkerMessage }
  /** A LiveKit agent answered the offer of its job. `isTaken`: the agent of another session in the room has that identity. */
  | {
      readonly type: 'answered';
      readonly workerId: WorkerId;
      readonly answer: AgentAnswer;
      readonly isTaken: boolean;
    }
  /** The worker's own process ended. Its descendants may still be there. */
  | { readonly type: 'exited'; readonly workerId: WorkerId; readonly exit: ExitInfo }
  /** A supervisor takes the session over from an earlier one. `retryOf`: the worker of a search that failed before; null: the first search. */
  | { readonly type: 'adopted'; readonly found: Found; readonly retryOf: WorkerId | null }
  /** The host was rebooted. No earlier process is left. */
  | { readonly type: 'host_lost' }
  /** A scan of the worker's process tree after its exit or a signal: how many processes are left. */
  | { readonly type: 'tree'; readonly workerId: WorkerId; readonly left: number }
  /** A snapshot of the room. */
  | { readonly type: 'room_snapshot'; readonly observation: RoomSnapshot }
  /** A snapshot of the session's side room. */
  | { readonly type: 'side_room_snapshot'; readonly callers: number }
  /** A webhook: a hint that the next snapshot confirms or corrects. */
  | { readonly type: 'room_webhook'; readonly event: RoomWebhook }
  | { readonly type: 'livekit'; readonly reachable: boolean }
  | {
      readonly type: 'release';
      readonly reason: 'requested' | 'shutdown';
      readonly by: Actor;
      readonly detail: string | null;
    }
  /** Another session was accepted and waits for this one's claim. */
  | { readonly type: 'claim_wanted' }
  | { readonly type: 'keep_alive'; readonly forMs: number; readonly by: Actor }
  | { readonly type: 'metadata'; readonly metadata: Metadata }
  /** The answer of the mass-end budget. */
  | { readonly type: 'budget'; readonly granted: boolean }
  | {
      readonly type: 'room_step';
      readonly step: 'remove_agent' | 'close_room';
      readonly outcome: StepOutcome;
      readonly detail: string | null;
    }
  /** The clock did not tick for `gapMs` (suspend, SIGSTOP, overload). */
  | { readonly type: 'gap'; readonly gapMs: number }
  | {
      readonly type: 'resources';
      readonly workerId: WorkerId;
      readonly memory: MemorySample;
      readonly cpuPercent: number;
    };
