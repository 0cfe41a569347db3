/** The state of one session. Types carry the rules: a closing session without a reason cannot be written down. */

import type { SessionLimits } from '../../lib/limits/session-limits.ts';
import type { ClaimKey, Metadata, RoomKey, SessionId, Stamp, WorkerId } from '../ids.ts';
import type { Presence } from '../rooms/presence.ts';
import type { JobOrigin } from './job-options.ts';
import type { Profile } from './profile.ts';
import type { Reason } from './reasons.ts';
import { RELEASED_REASONS } from './reasons.ts';

export type PublicState = 'queued' | 'starting' | 'live' | 'closing' | 'released' | 'failed';

/** What never changes after admission. */
export interface SessionSpec {
  readonly id: SessionId;
  /** Whether `id` is the client's own. */
  readonly clientId: boolean;
  /** Of the dispatch's body, to tell a repeat from a conflict. */
  readonly bodyHash: string;
  readonly room: RoomKey;
  readonly user: string | null;
  readonly profile: Profile;
  /** The profile's limits with the dispatch's overrides. */
  readonly limits: SessionLimits;
  /** A dispatch that names an activity idle timeout arms it for any worker. */
  readonly idleAsked: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: Stamp;
  /** Whose clock all `bootMs` of the session are of; a record of an older version lacks it. */
  readonly bootId?: string;
  readonly claim: ClaimKey;
  /** The identity in the room of this session's agent, derived from the room. */
  readonly agentIdentity: string;
  /** Whether there is a LiveKit to ask about the room. */
  readonly livekit: boolean;
  /** null: it came in another way. */
  readonly job: JobOrigin | null;
  /** The call came by itself: it waits for no slot, and nobody but its room can be told that it is refused. */
  readonly unasked?: true;
}

/** What tells one process from every other: pids are reused. `startTicks` is field 22 of /proc/PID/stat. */
export interface ProcessIdentity {
  readonly bootId: string;
  readonly pid: number;
  readonly startTicks: number;
}

/** The worker's command (`main`, whose pid is public) and the shim that waits for it. */
export interface WorkerProcess {
  readonly main: ProcessIdentity | null;
  readonly shim: ProcessIdentity;
}

/** `code` and `signal` both null: gone, status unknown. */
export interface ExitInfo {
  readonly code: number | null;
  readonly signal: string | null;
  readonly at: Stamp;
  /** The kernel ended something of the worker for want of memory under its limit. */
  readonly oomKilled?: true;
}

export interface Worker {
  readonly id: WorkerId;
  /** 1 for the first, one more for each replacement. */
  readonly attempt: number;
  readonly spawnedAt: Stamp;
  /** It must be ready by then; null: it is. */
  readonly readyByMs: number | null;
  readonly process: WorkerProcess | null;
  readonly channel: 'none' | 'open' | 'lost';
  readonly exit: ExitInfo | null;
  readonly treeGone: boolean;
  /** It was started before its session and is given its room now. */
  readonly warm?: true;
  /** It said so before it was ready, and gives way to the next one. */
  readonly failed?: true;
}

/** Who asked: a token's name, or the local user that the CLI states. */
export interface Actor {
  readonly kind: 'token' | 'local' | 'supervisor';
  readonly name: string;
}

/** Why a session ends: the first cause, with what decided. */
export interface Ending {
  readonly reason: Reason;
  /** The event or deadline that decided, such as `participant_left` or `deadline:max_duration`. */
  readonly cause: string;
  readonly at: Stamp;
  readonly by: Actor | null;
  readonly detail: string | null;
}

export type StepName = 'aclose' | 'disconnect' | 'term' | 'kill' | 'remove_agent' | 'close_room';
export type StepOutcome = 'done' | 'exited' | 'timeout' | 'failed' | 'skipped';

export interface StepRecord {
  readonly step: StepName;
  readonly startedAt: Stamp;
  readonly tookMs: number | null;
  readonly outcome: StepOutcome | null;
  readonly detail: string | null;
}

/** `spawning`: the spawn is under way and is waited for; `reconnecting`: a worker that knows curfew is waited for, to be asked; `reap`: a look at what a dead worker left; `confirm`: a last look after KILL. */
export type ProcessStep =
  | 'spawning'
  | 'reconnecting'
  | 'aclose'
  | 'disconnect'
  | 'reap'
  | 'term'
  | 'kill'
  | 'confirm'
  | 'over';
export type RoomStep = 'waiting' | 'remove_agent' | 'close_room' | 'over';

/** Two tracks side by side; the ladder is over when both are. */
export interface Ladder {
  readonly process: { readonly step: ProcessStep; readonly deadlineMs: number };
  readonly room: { readonly step: RoomStep; readonly deadlineMs: number };
  readonly records: readonly StepRecord[];
  readonly unkillable: boolean;
  /** No caller was left when the teardown began: the user's slot is free already. */
  readonly wrapUp: boolean;
  /** Another session waits for the claim: its callers are in this room. */
  readonly successor: boolean;
  /** What the room rule decided; null until the room's step is reached. */
  readonly roomEnd: RoomEnd | null;
}

export interface RoomEnd {
  readonly action: 'close' | 'keep' | 'watch';
  readonly why: string;
}

export type Work =
  | { readonly kind: 'running'; readonly worker: Worker }
  | {
      readonly kind: 'replacing';
      readonly attempt: number;
      readonly notBeforeMs: number;
      /** The crashed worker until its whole tree is gone; only then may the next one start. `spawning`: it missed its start before its process was there. */
      readonly old: {
        readonly worker: Worker;
        readonly step: 'spawning' | 'reap' | 'term' | 'kill' | 'confirm';
        readonly deadlineMs: number;
      } | null;
      /** Nobody was known to be there, but the last look was older than the crash: a new one decides. */
      readonly unsure?: { readonly ending: Ending; readonly sinceMs: number; readonly worker: Worker } | null;
    };

/** An inferred ending that waits for the host-wide budget. */
export interface Inference {
  readonly ending: Ending;
  /** Held until then, when the facts are read afresh; null: just asked. */
  readonly heldUntilMs: number | null;
}

export type Phase =
  /** `grant` null: not admitted yet. */
  | {
      readonly name: 'queued';
      readonly grant: {
        readonly startAtMs: number;
        /** LiveKit was told yes and its assignment is waited for until then; null: it came, or none is coming. */
        readonly assignedByMs: number | null;
        readonly workerId: WorkerId;
        /** The warm worker that is kept for it; null: one is started. */
        readonly warm: WorkerProcess | null;
      } | null;
    }
  | { readonly name: 'starting'; readonly startedAt: Stamp; readonly worker: Worker }
  | {
      readonly name: 'live';
      readonly startedAt: Stamp;
      readonly liveAt: Stamp;
      readonly work: Work;
      readonly inference: Inference | null;
    }
  | {
      readonly name: 'closing';
      readonly startedAt: Stamp | null;
      readonly liveAt: Stamp | null;
      readonly ending: Ending;
      readonly worker: Worker | null;
      readonly ladder: Ladder;
    }
  | {
      readonly name: 'ended';
      readonly startedAt: Stamp | null;
      readonly liveAt: Stamp | null;
      readonly endedAt: Stamp;
      readonly ending: Ending;
      readonly worker: Worker | null;
      readonly records: readonly StepRecord[];
      readonly roomEnd: RoomEnd | null;
    };

export type PhaseName = Phase['name'];
export type PhaseOf<P extends PhaseName> = Extract<Phase, { readonly name: P }>;

export interface Errors {
  readonly consecutive: number;
  readonly total: number;
  readonly lastAt: Stamp | null;
  readonly last: string | null;
}

/** What a restart can learn again; a change here alone is not written to the registry. */
export interface Vitals {
  /** Last proof of life over the control socket. null: never connected, nothing is expected. */
  readonly heartbeatMs: number | null;
  readonly dumpAskedMs: number | null;
  /** When silence becomes `idle_timeout`; null: not armed. */
  readonly idleAtMs: number | null;
  readonly warnedMaxDuration: boolean;
  readonly pollAskedMs: number | null;
  /** The mass-end budget held an ending before; a second asking was confirmed by a fresh look. */
  readonly heldBefore: boolean;
  readonly resources: { readonly rssBytes: number; readonly cpuPercent: number } | null;
  /** Since which sample its memory is over the limit, without one below it; null: it is not. */
  readonly overMemorySinceMs: number | null;
}

/** The metadata that the worker should have, and the last revision it acknowledged. */
export interface Configuration {
  readonly metadata: Metadata;
  readonly rev: number;
  readonly ackedRev: number;
  readonly sentMs: number | null;
}

export interface Session {
  readonly spec: SessionSpec;
  readonly phase: Phase;
  readonly errors: Errors;
  readonly restarts: number;
  /** The last workers that gave way to another one, and why. */
  readonly replaced?: readonly { readonly worker: WorkerId; readonly why: Ending }[];
  /** The first worker, where it was a warm one with an id of its own. */
  readonly warmWorker: WorkerId | null;
  readonly presence: Presence;
  readonly config: Configuration;
  readonly vitals: Vitals;
}

/** A session of which the compiler knows the phase. */
export type SessionIn<P extends PhaseName> = Session & { readonly phase: PhaseOf<P> };

/** A session whose teardown has not begun. */
export type OpenSession = SessionIn<'queued' | 'starting' | 'live'>;

export function isIn<P extends PhaseName>(
  session: Session,
  ...phases: readonly P[]
): session is SessionIn<P> {
  return (phases as readonly PhaseName[]).includes(session.phase.name);
}

export function isEnded(session: Session): boolean {
  return session.phase.name === 'ended';
}

/** The worker that the session holds now, dead or alive. */
export function workerOf(session: Session): Worker | null {
  const { phase } = session;
  switch (phase.name) {
    case 'queued':
      return null;
    case 'starting':
    case 'closing':
    case 'ended':
      return phase.worker;
    case 'live':
      return phase.work.kind === 'running' ? phase.work.worker : (phase.work.old?.worker ?? null);
  }
}

/** Its worker gives way to another one. */
export function isReplacing({ phase }: Session): boolean {
  return phase.name === 'live' && phase.work.kind === 'replacing';
}

/** Whether the session still wants this worker to start. */
export function wantsStart(session: Session, id: WorkerId): boolean {
  const { phase } = session;
  const isWanted = phase.name === 'starting' || (phase.name === 'live' && phase.work.kind === 'running');
  return isWanted && workerOf(session)?.id === id;
}

/** The worker whose events count: the session's own, or the warm one that is reserved for it. */
export function awaitedWorkerId(session: Session): WorkerId | null {
  const { phase } = session;
  if (phase.name !== 'queued') return workerOf(session)?.id ?? null;
  return phase.grant?.warm == null ? null : phase.grant.workerId;
}

export function publicState(session: Session): PublicState {
  if (session.phase.name !== 'ended') return session.phase.name;
  return outcomeOf(session.phase.ending.reason);
}

export function outcomeOf(reason: Reason): 'released' | 'failed' {
  return (RELEASED_REASONS as readonly Reason[]).includes(reason) ? 'released' : 'failed';
}
