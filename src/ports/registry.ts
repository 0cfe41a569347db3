/** The registry: sessions, claims and watched rooms in a database. */
import type { ClaimKey, SessionId } from '../core/ids.ts';
import type { Session } from '../core/model/session.ts';
import type { RoomWatch } from '../core/rooms/kept-room.ts';

export interface DurableWrite {
  readonly session: Session;
  /** null: the session holds no claim, or no claim any more. */
  readonly claim: ClaimKey | null;
}

export interface SessionQuery {
  readonly states?: readonly string[];
  readonly room?: string;
  readonly agent?: string;
  readonly user?: string;
  readonly label?: readonly [string, string];
  readonly limit: number;
  /** From the answer before. */
  readonly cursor?: string;
}

/** The database was damaged or disappeared, and a new one replaces it. */
export interface DatabaseLoss {
  /** New path of the damaged file. null: there was no file. */
  readonly setAside: string | null;
  readonly why: string;
  /** true: the new database has all records. false: it is empty, and the supervisor must write its sessions again. */
  readonly isCopied: boolean;
}

/** Storage on its own thread. Each call has a bound and rejects with `registry_unavailable`. */
export interface Registry {
  /** true: this start made the database, or `open` found damaged records in it. Earlier sessions may be missing. */
  readonly isNew: boolean;
  /** The listener also gets losses from before this call. */
  onLost(listener: (lost: DatabaseLoss) => void): void;
  /**
   * Writes claim, session and client id in one transaction. Durable when it resolves.
   * Rejects `room_taken` when another session holds the claim.
   */
  create(write: DurableWrite): Promise<void>;
  /** Replaces the session's record. `durable`: when it resolves, the record survives a power cut. */
  save(write: DurableWrite, durable: boolean): Promise<void>;
  /** Deletes a session that was refused because its first record came too late. */
  discard(id: SessionId): Promise<void>;
  /** Writes without a change of the data. Rejects while the database cannot be written. */
  probe(): Promise<void>;
  /** null: no such session. */
  get(id: SessionId): Promise<Session | null>;
  /** Newest first. The cursor is opaque; null: there are no more. */
  list(query: SessionQuery): Promise<{ sessions: Session[]; nextCursor: string | null }>;
  /** Sessions that have not ended or still hold their claim. Damaged records are logged and set aside in a file. */
  open(): Promise<Session[]>;
  /** Replaces the watch of the same room and claim. */
  saveWatch(watch: RoomWatch): Promise<void>;
  deleteWatch(watch: Pick<RoomWatch, 'room' | 'claim'>): Promise<void>;
  watches(): Promise<RoomWatch[]>;
  /** Deletes sessions that ended before this Unix time in milliseconds. Returns their number. */
  prune(endedBeforeWallMs: number): Promise<number>;
  close(): Promise<void>;
}

/** The registry, read only. */
export type RegistryReader = Pick<Registry, 'open' | 'get'> & { close(): void };
