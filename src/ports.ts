/** What the shell offers the runtime. Every promise here is bounded by its adapter; every adapter implements one of these. */
import type { Effect } from './core/effect.ts';
import type { ClaimKey, InstanceId, RoomKey, SessionId, Stamp, WorkerId } from './core/ids.ts';
import type { Observation, RoomEvent } from './core/presence.ts';
import type { Profile } from './core/profile.ts';
import type { SupervisorMessage, WorkerMessage } from './core/protocol.ts';
import type { ExitInfo, Session, WorkerProcess } from './core/session.ts';
import type { RoomWatch } from './core/watch.ts';

export interface Clock {
  now(): Stamp;
  /** Calls back once at or soon after `bootMs`; the returned function cancels. */
  at(bootMs: number, callback: () => void): () => void;
}

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What a worker is started with. */
export interface SpawnRequest {
  readonly workerId: WorkerId;
  readonly profile: Profile;
  /** Complete environment beyond the small base that every worker gets. */
  readonly env: Readonly<Record<string, string>>;
  /** Written to the worker's folder before the spawn, for a recovery without the database. */
  readonly record: object;
}

export interface WorkersListener {
  exited(workerId: WorkerId, exit: ExitInfo): void;
  /** After an exit, a `signal` or a `reap`: how many processes of the tree are left. 0 exactly once, as the last word. */
  tree(workerId: WorkerId, left: number): void;
  resources(workerId: WorkerId, rssBytes: number, cpuPercent: number): void;
}

/** `exit`: it ended while no supervisor was there; null: it runs, or how it ended is not known yet. */
export interface Adopted {
  readonly process: WorkerProcess;
  readonly exit: ExitInfo | null;
}

/** Process trees. Nothing is signalled but by identity and mark, checked right before. */
export interface Workers {
  /** Resolves when the command runs (its pid is known); rejects with CurfewError or a system error, leaving nothing behind. */
  spawn(request: SpawnRequest): Promise<WorkerProcess>;
  /**
   * Takes over a worker of a supervisor before this one; its exit and tree are told as those of any other.
   * `known` null: only the intent was recorded; then the claim file decides.
   * Null: it was never started and never will be, or it was of another boot.
   */
  adopt(workerId: WorkerId, known: WorkerProcess | null): Promise<Adopted | null>;
  signal(workerId: WorkerId, signal: 'SIGTERM' | 'SIGKILL'): void;
  reap(workerId: WorkerId): void;
  /** Rewrites what the worker's folder says of it, for a recovery without the database. */
  record(workerId: WorkerId, record: object): void;
  /** The path of the worker's log file. */
  logPath(workerId: WorkerId): string;
  /** Forgets a worker whose tree is gone; the folder stays for the retention. */
  forget(workerId: WorkerId): void;
  /** Removes folders of workers whose logs are older than the retention and not in `keep`. */
  prune(olderThanWallMs: number, keep: ReadonlySet<WorkerId>): Promise<number>;
  close(): Promise<void>;
}

export interface ChannelsListener {
  /** A valid hello. `true`: this worker is known and welcome; false: refused. */
  hello(workerId: WorkerId): boolean;
  message(workerId: WorkerId, message: WorkerMessage): void;
  closed(workerId: WorkerId): void;
}

/** The control socket, with one connection per worker (the newer wins). */
export interface Channels {
  readonly socketPath: string;
  listen(listener: ChannelsListener): Promise<void>;
  /** The token that worker must say in its hello; derived, so that it holds over a restart. */
  tokenFor(workerId: WorkerId): string;
  /** False: no connection, or its backlog is full. */
  tell(workerId: WorkerId, message: SupervisorMessage): boolean;
  close(): Promise<void>;
}

/** The job that an unchanged LiveKit agent is given. */
export interface StandInJob {
  readonly id: string;
  readonly room: { readonly name: string; readonly sid: string | null };
  /** As the agent's `ctx.job.metadata` shows it. */
  readonly metadata: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly agentName: string;
  /** The real LiveKit and a token for this one room. */
  readonly url: string;
  readonly token: string;
}

export interface StandInListener extends ChannelsListener {
  /** The room in which this worker works, and its side rooms; a call of the LiveKit API for any other is refused. */
  roomsOf(workerId: WorkerId): readonly string[];
}

/** Stands in for the LiveKit server's `/agent` towards unchanged LiveKit agents; one connection per worker, the newer wins. */
export interface StandIn {
  /** Where workers find it; the same over restarts. */
  readonly url: string;
  /** Rejects invalid_config when its port is taken. */
  listen(listener: StandInListener): Promise<void>;
  /** Made for this worker alone; derived, so that they hold over a restart. */
  keysFor(workerId: WorkerId): { readonly apiKey: string; readonly apiSecret: string };
  /** What such a worker finds in its environment beyond what every worker does: the address, its keys, the launchers. */
  envFor(workerId: WorkerId, profile: Pick<Profile, 'env' | 'passEnv'>): Readonly<Record<string, string>>;
  /** The worker says `ready` when it has accepted the job. False: it is not connected. */
  assign(workerId: WorkerId, job: StandInJob): boolean;
  /** The graceful end of its job. False: it is not connected. */
  terminate(workerId: WorkerId): boolean;
  close(): Promise<void>;
}

export interface DurableWrite {
  readonly session: Session;
  /** Null: the session holds no claim (any more). */
  readonly claim: ClaimKey | null;
}

export interface SessionQuery {
  readonly states?: readonly string[];
  readonly room?: string;
  readonly agent?: string;
  readonly user?: string;
  readonly label?: readonly [string, string];
  readonly limit: number;
  readonly cursor?: string;
}

/** The database was damaged, or somebody took it away; another is in its place. */
export interface Lost {
  /** Where what was found there is now; null: there was nothing. */
  readonly setAside: string | null;
  readonly why: string;
  /** Everything is in the new one; else it is empty, and what is known must be written again. */
  readonly isCopied: boolean;
}

/** Storage on a thread of its own; each call is bounded and rejects with `registry_unavailable`. */
export interface Registry {
  /** The database was made at this start, or `open` found damaged records in it: what was known before, if anything, is lost. */
  readonly isNew: boolean;
  /** Called for what was lost before, too. */
  onLost(listener: (lost: Lost) => void): void;
  /** Claim, session and client id in one transaction, durable when resolved. Rejects `room_taken` when the claim is recorded for another session. */
  create(write: DurableWrite): Promise<void>;
  /** Replaces the session's record. `durable`: survives a power cut when resolved. */
  save(write: DurableWrite, durable: boolean): Promise<void>;
  /** Forgets a session that was refused because its first record was late. */
  discard(id: SessionId): Promise<void>;
  /** Writes what changes nothing: rejects as long as nothing can be written. */
  probe(): Promise<void>;
  get(id: SessionId): Promise<Session | null>;
  /** Newest first. The cursor is opaque. */
  list(query: SessionQuery): Promise<{ sessions: Session[]; nextCursor: string | null }>;
  /** Every session that has not ended, and those that ended but still hold their claim. A record that is none is named and set aside. */
  open(): Promise<Session[]>;
  saveWatch(watch: RoomWatch): Promise<void>;
  deleteWatch(room: RoomKey): Promise<void>;
  watches(): Promise<RoomWatch[]>;
  /** Deletes ended sessions older than that; how many. */
  prune(endedBeforeWallMs: number): Promise<number>;
  close(): Promise<void>;
}

/** The registry for a look only. */
export type RegistryReader = Pick<Registry, 'open' | 'get'> & { close(): void };

export interface WarmRecord {
  readonly profile: Profile;
  readonly process: WorkerProcess | null;
  /** Not to be handed out: it was being let go, or is a LiveKit agent that was given a job. */
  readonly isSpent: boolean;
}

/** The records in the workers' folders. */
export interface WorkerRecords {
  list(): Promise<WorkerId[]>;
  /** The session as it was when the worker was started or last changed; null: none that can be read. */
  read(id: WorkerId): Promise<{ session: Session; process: WorkerProcess | null } | null>;
  /** What a warm worker that has no session yet was started with; null: it is none. */
  readWarm(id: WorkerId): Promise<WarmRecord | null>;
}

export interface RoomsListener {
  /** A complete look at one room. */
  observed(room: RoomKey, observation: Observation): void;
  event(room: RoomKey, event: RoomEvent): void;
  reachable(reachable: boolean): void;
  /** A room that was asked for by `discover` is there; told again and again while it is. */
  found(room: RoomKey, roomSid: string): void;
}

export type RoomStepResult = {
  readonly outcome: 'done' | 'skipped' | 'failed' | 'timeout';
  readonly detail: string | null;
};

export interface RefusedRoom {
  readonly room: RoomKey;
  readonly roomSid: string | null;
  /** The job that we had and gave up, which LiveKit shows as running all the same; null: there was none. */
  readonly ownJob: string | null;
  readonly boundMs: number;
}

/** LiveKit: presence and the room's last steps. */
export interface Rooms {
  /** Rooms to keep an eye on; every one of them is observed once per poll. */
  follow(room: RoomKey): void;
  unfollow(room: RoomKey): void;
  start(listener: RoomsListener): void;
  /** Tells of every room whose name is wanted, by webhook and by listing them all at each poll; null: of none. */
  discover(isWanted: ((name: string) => boolean) | null): void;
  /** Looks at the room soon; many requests for one room make one question. */
  look(room: RoomKey): void;
  /** `not_found` counts as done. */
  removeAgent(effect: Extract<Effect, { do: 'remove_agent' }>): Promise<RoomStepResult>;
  closeRoom(effect: Extract<Effect, { do: 'close_room' }>): Promise<RoomStepResult>;
  /** Closes it unless LiveKit has given its call to an agent by now, who may not be there yet. */
  closeRefused(refused: RefusedRoom): Promise<RoomStepResult>;
  /** A token for this room alone, kind agent. */
  workerToken(grant: { room: RoomKey; identity: string; ttlMs: number }): Promise<string>;
  /** Verifies, de-duplicates and hands on. Rejects `bad_signature`. */
  webhook(rawBody: string, authorization: string | undefined): Promise<void>;
  /** Since when LiveKit answers or does not; null: not asked yet. */
  status(): { reachable: boolean; since: Stamp; lastError: string | null } | null;
  readonly url: string;
  close(): Promise<void>;
}

/** One state directory: its id, its folders, its lock and its keys. */
export interface Instance {
  readonly id: InstanceId;
  readonly stateDir: string;
  readonly workersDir: string;
  readonly bootId: string;
  /** From which tokens are derived; never leaves the process. */
  readonly masterKey: Buffer;
  /** When id and key were made, the later of the two: a worker from before has others, and cannot prove itself. */
  readonly madeWallMs: number;
}
