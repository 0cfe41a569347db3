import type { ClaimKey, RoomKey, SessionId } from '../core/ids.ts';
import type { Session } from '../core/model/session.ts';
import type { RoomWatch } from '../core/rooms/kept-room.ts';

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
