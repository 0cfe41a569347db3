/** What this worker was started for. */
export interface Job {
  readonly sessionId: string;
  readonly room: string;
  /** 1 for the first worker of the session, one more for each replacement. */
  readonly attempt: number;
  readonly metadata: Record<string, unknown>;
  readonly livekitUrl: string | null;
  /** For this room alone. Not enumerable, so that a printed job keeps it out of the log. */
  readonly livekitToken: string | null;
}

export type ActivityKind = 'caller_speech' | 'agent_speech' | 'task' | 'keep_alive';

export interface Curfew {
  /** False when the program was not started by curfew: then every call does nothing. */
  readonly supervised: boolean;
  readonly job: Job;
  /** The agent is in the room and works. */
  ready(): void;
  /** Postpones the idle timeout. */
  activity(kind: ActivityKind): void;
  /** Silence is meant, for so long: at most 3599 s. */
  keepAlive(forMs: number): void;
  /** Something went well: errors in a row begin anew. */
  ok(): void;
  /** Something failed; too many in a row end the session. */
  error(error: unknown, source?: string): void;
  /** This worker can do its job no longer: another one takes its place while a caller is there. */
  failed(error: unknown): void;
  /** The job is done, or (after aclose) the session is closed. Resolves when it was sent, or after a second. */
  closed(detail?: string): Promise<void>;
  /** Finish the talk: say goodbye, write transcripts. `closed` is sent when all callbacks are done. */
  onAclose(callback: (request: { reason: string; boundMs: number }) => void | Promise<void>): void;
  /** Leave the room. The process exits with 0 when all callbacks are done. */
  onDisconnect(callback: (request: { boundMs: number }) => void | Promise<void>): void;
  /** New metadata; acknowledged when all callbacks are done. */
  onConfigure(callback: (metadata: Record<string, unknown>) => void | Promise<void>): void;
  /** Something will end the session soon. */
  onNotice(callback: (notice: { reason: string; inMs: number }) => void | Promise<void>): void;
  /** A worker that was started warm has its room now; `serve` does this for you. */
  onAssign(callback: (job: Job) => void | Promise<void>): void;
}

export interface ConnectOptions {
  /** False: the process is not exited after `disconnect`; the program does it. Default: true. */
  readonly exitOnDisconnect?: boolean;
}

/**
 * For an agent that may be kept warm (`warm: N`): connects at once, waits for its room where it has none yet, then runs the job once.
 * Do the slow things (imports, models) before. When `run` resolves the job is done; when it throws, the worker has crashed.
 */
export function serve(run: (job: Job, curfew: Curfew) => Promise<void>, options?: ConnectOptions): Curfew;

/** Connects to the supervisor that started this process, in the background, and again whenever it was away. */
export function connect(options?: ConnectOptions): Curfew;

/** What `attach` needs of an AgentSession of @livekit/agents. */
export interface SessionEvents {
  // biome-ignore lint/suspicious/noExplicitAny: an emitter that types its own events is one of these too
  on(event: any, listener: (event: any) => void): unknown;
}

/**
 * For a LiveKit agent (`protocol: livekit`), in its job, before `session.start`: speech, tools, errors of STT, LLM and TTS and a blocked
 * event loop are seen from then on. Does nothing when the program was not started by curfew.
 */
export function attach(session: SessionEvents): Curfew;
