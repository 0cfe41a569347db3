/** The state of one session. Types carry the rules: a closing session without a reason cannot be written down. */

import type { SessionLimits } from '../../lib/limits/session-limits.ts';
import type { ClaimKey, Metadata, RoomKey, SessionId, Stamp, WorkerId } from '../ids.ts';
import type { MemorySample } from '../memory-sample.ts';
import type { Presence } from '../rooms/presence.ts';
import type { ClosedAgentSession } from './control-protocol.ts';
import type { JobOrigin } from './job-options.ts';
import type { Profile } from './profile.ts';
import type { Reason } from './reasons.ts';
import { RELEASED_REASONS } from './reasons.ts';
import type { Worker, WorkerProcess } from './worker.ts';

export type PublicState = 'queued' | 'starting' | 'live' | 'closing' | 'released' | 'failed';

/** The facts that never change after admission, except for the identity that a LiveKit agent chooses. */
export interface SessionSpec {
  readonly id: SessionId;
  /** Whether `id` is the client's own. */
  readonly clientId: boolean;
  /** Hash of the dispatch's body, to tell a repeat from a conflict. */
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
  /** The boot id of the clock that all `bootMs` of the session use. Records of older versions lack it. */
  readonly bootId?: string;
  readonly claim: ClaimKey;
  /** The identity of this session's agent in the room: curfew's own, or the one that a LiveKit agent chose. */
  readonly agentIdentity: string;
  /** Curfew's own identity, once the agent chose another. */
  readonly ownIdentity?: string;
  /** Curfew's own identity belongs to this session alone, over all hosts. In records of older versions the sessions of a room share it. */
  readonly soleIdentity?: true;
  /** Whether there is a LiveKit to ask about the room. */
  readonly livekit: boolean;
  /** null: no LiveKit job asked for the session. */
  readonly job: JobOrigin | null;
  /** Nobody dispatched the call: it came from a room. It waits for no slot, and only its room can hear of a refusal. */
  readonly unasked?: true;
  /** A caller returned to the room of an earlier session. Absent: somebody or LiveKit dispatched the session. */
  readonly rejoin?: {
    readonly of: SessionId;
    /** When the sessions of this kind began in this room, this one included, on the boot-time clock. */
    readonly begunMs: readonly number[];
  };
}

/** The actor: a token's name, or the local user that the CLI states. */
export interface Actor {
  readonly kind: 'token' | 'local' | 'supervisor';
  readonly name: string;
}

/** Why a session ends: the first cause, with the event or deadline that decided. */
export interface Ending {
  readonly reason: Reason;
  /** The event or deadline that decided, such as `participant_left` or `deadline:max_duration`. */
  readonly cause: string;
  readonly at: Stamp;
  readonly by: Actor | null;
  readonly detail: string | null;
  /** The component with the error that ended the worker's AgentSession, such as `openai.LLM`. */
  readonly provider?: string;
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

/** `spawning`: waits for a spawn that is under way. `term_rest`: TERM for all that the TERM of the main process did not reach. `reconnecting`: waits for the connection of a worker, to ask it. `reap`: scans for what a dead worker left. `confirm`: the last scan, after KILL. */
export type ProcessStep =
  | 'spawning'
  | 'reconnecting'
  | 'aclose'
  | 'disconnect'
  | 'reap'
  | 'term'
  | 'term_rest'
  | 'kill'
  | 'confirm'
  | 'over';
export type RoomStep = 'waiting' | 'remove_agent' | 'close_room' | 'over';

/** Two tracks side by side. The teardown is over when both are over. */
export interface Ladder {
  readonly process: { readonly step: ProcessStep; readonly deadlineMs: number };
  readonly room: { readonly step: RoomStep; readonly deadlineMs: number };
  readonly records: readonly StepRecord[];
  readonly unkillable: boolean;
  /** `aclose` has the time of a wrap-up: no caller was left when the teardown began, or the agent is out of the room. Then the user's slot is free. */
  readonly wrapUp: boolean;
  /** Another session waits for the claim: its callers are in this room. */
  readonly successor: boolean;
  /** The decision of the room rule; null: it has not decided yet. */
  readonly roomEnd: RoomEnd | null;
  /** The agent is out of the room, and the next session has the room's claim. Absent: the session holds its claim. */
  readonly claimPassed?: true;
  /** All callers had left when the teardown began. */
  readonly callersLeft?: true;
  /** An actor released the session during its teardown. Then a caller that returns gets no session. */
  readonly released?: true;
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
      /** The crashed worker, until its whole tree is gone. Only then may the next one start. `spawning`: it missed its start before its process was known. */
      readonly old: {
        readonly worker: Worker;
        readonly step: Extract<ProcessStep, 'spawning' | 'reap' | 'term' | 'term_rest' | 'kill' | 'confirm'>;
        readonly deadlineMs: number;
      } | null;
      /** No caller was known to be in the room, but the last poll was older than the crash. So a new poll decides. */
      readonly unsure?: { readonly ending: Ending; readonly sinceMs: number; readonly worker: Worker } | null;
    };

/** An inferred ending that waits for the host-wide mass-end budget. */
export interface Inference {
  readonly ending: Ending;
  /** Held until then, when a new poll is asked for; null: the budget has not answered yet. */
  readonly heldUntilMs: number | null;
}

export type Phase =
  /** `grant` null: not admitted yet. */
  | {
      readonly name: 'queued';
      readonly grant: {
        readonly startAtMs: number;
        /** LiveKit heard yes, and the session waits for its assignment until then; null: it came, or none will come. */
        readonly assignedByMs: number | null;
        readonly workerId: WorkerId;
        /** The reserved warm worker; null: a new worker is started. */
        readonly warm: WorkerProcess | null;
      } | null;
    }
  | {
      readonly name: 'starting';
      readonly worker: Worker;
      /** The start of the worker could not be recorded, so it was not tried. It comes again at `againAtMs`. */
      readonly unrecorded?: { readonly againAtMs: number; readonly detail: string };
    }
  | { readonly name: 'live'; readonly work: Work; readonly inference: Inference | null }
  | {
      readonly name: 'closing';
      readonly ending: Ending;
      readonly worker: Worker | null;
      readonly ladder: Ladder;
    }
  | {
      readonly name: 'ended';
      readonly ending: Ending;
      readonly worker: Worker | null;
      readonly records: readonly StepRecord[];
      readonly roomEnd: RoomEnd | null;
      /** The session had passed its claim on before its end. */
      readonly claimPassed?: true;
    };

export type PhaseName = Phase['name'];
export type PhaseOf<P extends PhaseName> = Extract<Phase, { readonly name: P }>;

export interface Errors {
  readonly consecutive: number;
  readonly total: number;
  readonly lastAt: Stamp | null;
  readonly last: string | null;
}

export interface AgentSessions {
  readonly open: number;
  /** When the first one was reported; absent: an older supervisor took that report. */
  readonly firstMs?: number | undefined;
  /** When the last one closed; null: one is open. */
  readonly closedMs: number | null;
  /** The framework's word for why the last one closed. */
  readonly closeReason: string | null;
  /** One has closed, also when another is open now. */
  readonly hasClosed?: true;
  /** An error closed the last one, and the agent's code has a moment to open another; absent: none did. */
  readonly failed?: ClosedAgentSession;
}

/** Facts that a restart can learn again. A change of these alone is not written to the registry. */
export interface Vitals {
  /** Last proof of life over the control socket; null: the worker never connected, so no heartbeat is expected. */
  readonly heartbeatMs: number | null;
  readonly dumpAskedMs: number | null;
  /** When silence becomes `idle_timeout`; null: not armed. */
  readonly idleAtMs: number | null;
  /** The client that connected the job of a LiveKit agent to the control socket; absent: none has. */
  readonly attachedBy?: 'launcher' | 'code' | undefined;
  /** The last activity that counts as use; absent: none was reported. */
  readonly activityMs?: number | undefined;
  /** The last activity that was not only a tool, or the end of the silence that it allows; absent: none was reported. */
  readonly usedMs?: number | undefined;
  /** The first tool since then; absent: none was reported. */
  readonly toolsSinceMs?: number | undefined;
  /** The AgentSessions of the worker's job; absent: it never opened one. */
  readonly agentSessions?: AgentSessions | undefined;
  /** The event loop of the job is blocked since the report of this time; absent: it runs. */
  readonly loopBlockedMs?: number | undefined;
  readonly warnedMaxDuration: boolean;
  readonly pollAskedMs: number | null;
  /** The mass-end budget held an ending before. The next request was confirmed by a new poll. */
  readonly heldBefore: boolean;
  readonly resources: { readonly memory: MemorySample; readonly cpuPercent: number } | null;
  /** The first of the last samples that are all over the memory limit; null: the last sample was not. */
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
  /** When the first worker was started; null: none was. */
  readonly startedAt: Stamp | null;
  /** When the first worker was ready; null: none was. */
  readonly liveAt: Stamp | null;
  /** null: it has not ended. */
  readonly endedAt: Stamp | null;
  readonly errors: Errors;
  readonly restarts: number;
  /** The last replaced workers, each with the reason. */
  readonly replaced?: readonly { readonly worker: WorkerId; readonly why: Ending }[];
  /** A worker of the session has dialled a phone. */
  readonly dialled?: true;
  /** The first worker, if it was a warm one, because a warm worker has its own id. */
  readonly warmWorker: WorkerId | null;
  /** The last replacements that were warm workers. */
  readonly warmLater?: readonly { readonly attempt: number; readonly worker: WorkerId }[];
  readonly presence: Presence;
  readonly config: Configuration;
  readonly vitals: Vitals;
}

/** A session with a phase that the compiler knows. */
export type SessionIn<P extends PhaseName> = Session & { readonly phase: PhaseOf<P> } & TimesIn[P];

/** The times that a session of each phase has. */
export interface TimesIn {
  readonly queued: { readonly startedAt: null; readonly liveAt: null; readonly endedAt: null };
  readonly starting: { readonly startedAt: Stamp; readonly liveAt: null; readonly endedAt: null };
  readonly live: { readonly startedAt: Stamp; readonly liveAt: Stamp; readonly endedAt: null };
  readonly closing: Pick<Session, 'startedAt' | 'liveAt'> & { readonly endedAt: null };
  readonly ended: Pick<Session, 'startedAt' | 'liveAt'> & { readonly endedAt: Stamp };
}

/** A session before its teardown. */
export type OpenSession = SessionIn<'queued' | 'starting' | 'live'>;

/** The end of the maximum duration, on the boot-time clock. */
export function maxDurationAtMs({ startedAt, spec }: SessionIn<'starting' | 'live'>): number {
  return startedAt.bootMs + spec.limits.maxDurationMs;
}

export function isIn<P extends PhaseName>(
  session: Session,
  ...phases: readonly P[]
): session is SessionIn<P> {
  return (phases as readonly PhaseName[]).includes(session.phase.name);
}

export function isEnded(session: Session): session is SessionIn<'ended'> {
  return session.phase.name === 'ended';
}

/** The worker that the session holds now, in any stage. */
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

/** When the silence of a worker is too long; null: no heartbeat is expected. */
export function staleAtMs({ vitals, spec }: Session): number | null {
  const { heartbeatStaleMs, autoAttach } = spec.profile;
  const isInformed = vitals.attachedBy === 'launcher' && autoAttach != null;
  const staleMs = isInformed ? autoAttach.heartbeatStaleMs : heartbeatStaleMs;
  return vitals.heartbeatMs === null ? null : vitals.heartbeatMs + staleMs;
}

/** The session replaces its worker. */
export function isReplacing({ phase }: Session): boolean {
  return phase.name === 'live' && phase.work.kind === 'replacing';
}

/** Whether the session still wants this worker to start. */
export function wantsStart(session: Session, id: WorkerId): boolean {
  const { phase } = session;
  const isWanted = phase.name === 'starting' || (phase.name === 'live' && phase.work.kind === 'running');
  return isWanted && workerOf(session)?.id === id;
}

/** Only events of this worker count: the session's own, or the warm one that is reserved for it. */
export function awaitedWorkerId(session: Session): WorkerId | null {
  const { phase } = session;
  return phase.name === 'queued' ? (reservedWorker(session)?.id ?? null) : (workerOf(session)?.id ?? null);
}

export function publicState(session: Session): PublicState {
  if (session.phase.name !== 'ended') return session.phase.name;
  return outcomeOf(session.phase.ending.reason);
}

export function outcomeOf(reason: Reason): 'released' | 'failed' {
  return (RELEASED_REASONS as readonly Reason[]).includes(reason) ? 'released' : 'failed';
}

/** A warm worker as a session gets it. */
export interface Warm {
  readonly id: WorkerId;
  readonly process: WorkerProcess;
}

/** The warm worker that is reserved for a queued session; null: none is. */
export function reservedWorker({ phase }: Session): Warm | null {
  if (phase.name !== 'queued' || phase.grant === null || phase.grant.warm == null) return null;
  return { id: phase.grant.workerId, process: phase.grant.warm };
}
