/**
 * The wire: what HTTP, the CLI's --json and (later) events carry. One set of schemas validates, types and documents it.
 * camelCase; times are ISO 8601 in UTC; durations and lengths end in their unit.
 */

import type { z } from 'zod';
import type { Actor } from '../core/model/session.ts';
import type { CleanupRequest, CleanupView } from './cleanup-api.ts';
import type { metadataSchema } from './common-schemas.ts';
import type { CapacityView, ReadyView, ReloadView } from './host-schemas.ts';
import type { DispatchRequest, ListQuery, ReleaseMany, SessionList, SessionView } from './session-schemas.ts';

/** What a token may do; `admin` implies all. */
export type Scope = 'read' | 'dispatch' | 'release' | 'admin';

export interface ApiToken {
  readonly name: string;
  readonly token: string;
  readonly scopes: readonly Scope[];
}

/** What the supervisor offers its faces. Every method rejects with CurfewError only. */
export interface SupervisorApi {
  /** `created` is false for a repeat with the same id and body. Rejects room_taken, at_capacity, id_conflict, registry_unavailable, stopping. */
  dispatch(request: DispatchRequest, by: Actor): Promise<{ session: SessionView; created: boolean }>;
  get(id: string): Promise<SessionView>;
  list(query: ListQuery): Promise<SessionList>;
  /** Resolves as soon as the release is under way. Rejects not_found; a session that has ended is answered as it is. */
  release(id: string, by: Actor, detail: string | null): Promise<SessionView>;
  releaseMany(request: ReleaseMany, by: Actor): Promise<SessionView[]>;
  keepAlive(id: string, forMs: number | null, by: Actor): Promise<SessionView>;
  setMetadata(id: string, metadata: z.infer<typeof metadataSchema>, by: Actor): Promise<SessionView>;
  /** Resolves when the session is live (or closing, or ended), has ended, or after `boundMs`, with the session as it is then. */
  wait(id: string, until: 'live' | 'ended', boundMs: number): Promise<SessionView>;
  /** Log files of the session's workers, oldest first. */
  logPaths(id: string): Promise<string[]>;
  /** Dry run by default. Rejects not_found for an unknown plan. */
  cleanup(request: CleanupRequest, by: Actor): Promise<CleanupView>;
  /** Accepts nothing more and stops after the last session; `timeoutMs`: then what is left is released. */
  drain(timeoutMs: number | null, by: Actor): Promise<CapacityView>;
  undrain(by: Actor): Promise<CapacityView>;
  capacity(): CapacityView;
  ready(): ReadyView;
  /** Reads the config again. Rejects invalid_config, and all stays as it was. */
  reload(by: Actor): Promise<ReloadView>;
  /** Rejects bad_signature, no_livekit. */
  webhook(rawBody: string, authorization: string | undefined): Promise<void>;
  /** A token that may watch, keep alive and release this session only. */
  sessionToken(id: string): Promise<string>;
  /** The session that a session token belongs to; null: no such token. */
  sessionOfToken(token: string): string | null;
}
