/** Everything that can happen to a session. The shell translates the world into these, one at a time. */
import type { Metadata, WorkerId } from '../ids.ts';
import type { RoomSnapshot, RoomWebhook } from '../rooms/presence.ts';
import type { WorkerMessage } from './control-protocol.ts';
import type { Actor, ExitInfo, StepOutcome, WorkerProcess } from './session.ts';

/** What the host shows at a start of a session's worker. */
export type Found =
  | { readonly kind: 'other_boot' }
  /** The session has no worker, or its worker's tree was gone on record. */
  | { readonly kind: 'no_worker' }
  /** The search failed, on a full disk for example. It is tried again. */
  | { readonly kind: 'not_searched' }
  /** Nothing of the worker is left, or it was never started and never will be. */
  | { readonly kind: 'absent' }
  /** `isMute`: its proof is of an older key, so that it can say nothing. `exit` null: it runs, or its status is not known yet. */
  | {
      readonly kind: 'present';
      readonly process: WorkerProcess;
      readonly exit: ExitInfo | null;
      readonly isMute: boolean;
    };

export type SessionEvent =
  /** Admission gave claim and slots; the start rate allows the spawn from `startAtMs`, LiveKit's assignment is waited for until `assignedByMs`. */
  | {
      readonly type: 'granted';
      readonly startAtMs: number;
      readonly assignedByMs?: number;
      readonly workerId: WorkerId;
      /** A warm worker that is kept for it. */
      readonly warm?: WorkerProcess;
    }
  /** Admission put the session into its queue: the first event of a session that waits. */
  | { readonly type: 'queued' }
  /** The session's first record could not be written: nothing was accepted. */
  | { readonly type: 'record_failed'; readonly detail: string }
  /** LiveKit has assigned the job that the session was promised to. */
  | { readonly type: 'assigned' }
  /** LiveKit has ended the job because its dispatch was deleted. */
  | { readonly type: 'job_terminated' }
  /** LiveKit never heard that the job was accepted. */
  | { readonly type: 'job_withdrawn'; readonly why: 'late' | 'unsent' }
  /** Admission gave up waiting; `detail` names the quota or the holder of the claim. */
  | { readonly type: 'expired'; readonly detail: string }
  /** Time passed: look at the deadlines. */
  | { readonly type: 'tick' }
  | { readonly type: 'spawned'; readonly workerId: WorkerId; readonly process: WorkerProcess }
  | { readonly type: 'spawn_failed'; readonly workerId: WorkerId; readonly detail: string }
  /** Its start was recorded and then voided before it began: the supervisor had ended. */
  | { readonly type: 'not_started'; readonly workerId: WorkerId }
  /** The worker said a valid hello, or its connection closed. `mute`: it can say no other, its proof is of an older key. */
  | {
      readonly type: 'channel';
      readonly workerId: WorkerId;
      readonly open: boolean;
      readonly mute?: true;
    }
  | { readonly type: 'message'; readonly workerId: WorkerId; readonly message: WorkerMessage }
  /** The worker's own process ended. Its descendants may still be there. */
  | { readonly type: 'exited'; readonly workerId: WorkerId; readonly exit: ExitInfo }
  /** A supervisor takes the session over from an earlier one. `isRetry`: this supervisor told it before that its worker could not be searched for. */
  | { readonly type: 'adopted'; readonly found: Found; readonly isRetry: boolean }
  /** The host was rebooted: no process of before is left. */
  | { readonly type: 'host_lost' }
  /** A look at the worker's process tree after its exit or a signal: how many are left. */
  | { readonly type: 'tree'; readonly workerId: WorkerId; readonly left: number }
  /** A complete look at the room. */
  | { readonly type: 'room_snapshot'; readonly observation: RoomSnapshot }
  /** A complete look at the session's side room. */
  | { readonly type: 'side_room_snapshot'; readonly callers: number }
  /** A webhook: a hint, reconciled by the next look. */
  | { readonly type: 'room_event'; readonly event: RoomWebhook }
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
      readonly rssBytes: number;
      readonly cpuPercent: number;
    };
