/** The job of this worker. Of a warm worker it is empty until the assignment. */
export interface Job {
  readonly sessionId: string;
  readonly room: string;
  /** 1 for the first worker of the session, plus 1 for each replacement. */
  readonly attempt: number;
  readonly metadata: Record<string, unknown>;
  /** null: curfew has no LiveKit, or the worker has no room yet. */
  readonly livekitUrl: string | null;
  /** Valid for this room alone. Not enumerable, so that a printed job does not put the token into the log. */
  readonly livekitToken: string | null;
}

export type ActivityKind = 'caller_speech' | 'agent_speech' | 'task' | 'keep_alive';

export interface Curfew {
  /** false: curfew did not start the program, and every call does nothing. */
  readonly supervised: boolean;
  readonly job: Job;
  /** The agent is in the room and works. */
  ready(): void;
  /** Restarts the idle timeout. */
  activity(kind: ActivityKind): void;
  /** The agent is silent on purpose for this time. Milliseconds, at most 3 599 000. */
  keepAlive(forMs: number): void;
  /** An operation worked. Resets the count of errors in a row. */
  ok(): void;
  /** An operation failed. Too many errors in a row end the session. */
  error(error: unknown, source?: string): void;
  /** This worker cannot do its job any more. While a caller is there, curfew replaces it. */
  failed(error: unknown): void;
  /** The job is done, or (after aclose) the session is closed. Resolves when the message was sent, or after 1 s. */
  closed(detail?: string): Promise<void>;
  /** Finish the conversation: say goodbye, write transcripts. When all callbacks are done, the kit sends `closed`. */
  onAclose(callback: (request: { reason: string; boundMs: number }) => void | Promise<void>): void;
  /** Leave the room. The process exits with 0 when all callbacks are done. */
  onDisconnect(callback: (request: { boundMs: number }) => void | Promise<void>): void;
  /** New metadata. When all callbacks are done, the kit acknowledges it. */
  onConfigure(callback: (metadata: Record<string, unknown>) => void | Promise<void>): void;
  /** The session will end in `inMs` milliseconds for this reason. */
  onNotice(callback: (notice: { reason: string; inMs: number }) => void | Promise<void>): void;
  /** A warm worker got its room. `serve` handles this for you. */
  onAssign(callback: (job: Job) => void | Promise<void>): void;
}

export interface ConnectOptions {
  /** false: the kit does not end the process after `disconnect`, so the program must. Default: true. */
  readonly exitOnDisconnect?: boolean;
}

/**
 * For an agent that may be warm (`warm: N`): connects, waits for its room if it has none yet, then runs the job once.
 * Load imports and models before the call. When `run` resolves, the job is done. When it throws, the worker has crashed.
 */
export function serve(run: (job: Job, curfew: Curfew) => Promise<void>, options?: ConnectOptions): Curfew;

/**
 * Connects to the supervisor that started this process, in the background. Reconnects after a restart of the supervisor.
 * Never throws.
 */
export function connect(options?: ConnectOptions): Curfew;

/** The part of an AgentSession of @livekit/agents that `attach` needs. */
export interface SessionEvents {
  // biome-ignore lint/suspicious/noExplicitAny: an emitter with its own event types must be valid here too
  on(event: any, listener: (event: any) => void): unknown;
}

/**
 * For a LiveKit agent (`protocol: livekit`): call it in the job, before `session.start`.
 * Reports speech, tools, errors of STT, LLM and TTS, and a blocked event loop to curfew. Does nothing if curfew did not
 * start the program.
 */
export function attach(session: SessionEvents): Curfew;
