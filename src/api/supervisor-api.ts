/**
 * The supervisor's API, as HTTP and the CLI's `--json` carry it. One set of schemas validates, types and documents it.
 * Names are camelCase. Times are ISO 8601 in UTC. Names of durations and lengths end in their unit.
 */

import type { z } from 'zod';
import type { Actor } from '../core/model/session.ts';
import type { CleanupRequest, CleanupView } from './cleanup-api.ts';
import type { metadataSchema } from './common-schemas.ts';
import type { CapacityView, ReadyView, ReloadView } from './host-schemas.ts';
import type { DispatchRequest, ListQuery, ReleaseMany, SessionList, SessionView } from './session-schemas.ts';

/** The rights of a token. `admin` includes all others. */
export type Scope = 'read' | 'dispatch' | 'release' | 'admin';

export interface ApiToken {
  readonly name: string;
  readonly token: string;
  readonly scopes: readonly Scope[];
}

/** The supervisor's methods for its listeners and the CLI. Each method rejects with CurfewError only. */
export interface SupervisorApi {
  /**
   * `created` false: a session with this id and body exists already.
   * Rejects `room_taken`, `at_capacity`, `id_conflict`, `registry_unavailable`, `stopping`, `draining`.
   */
  dispatch(request: DispatchRequest, by: Actor): Promise<{ session: SessionView; created: boolean }>;
  get(id: string): Promise<SessionView>;
  list(query: ListQuery): Promise<SessionList>;
  /** Resolves when the teardown begins. Resolves with an ended session unchanged. Rejects `not_found`. */
  release(id: string, by: Actor, detail: string | null): Promise<SessionView>;
  releaseMany(request: ReleaseMany, by: Actor): Promise<SessionView[]>;
  keepAlive(id: string, forMs: number | null, by: Actor): Promise<SessionView>;
  setMetadata(id: string, metadata: z.infer<typeof metadataSchema>, by: Actor): Promise<SessionView>;
  /** Resolves with the session when it has reached the state or a later one, or after `boundMs`. */
  wait(id: string, until: 'live' | 'ended', boundMs: number): Promise<SessionView>;
  /** Log files of the session's workers, oldest first. */
  logPaths(id: string): Promise<string[]>;
  /** The metrics of the agent's workers, as text for Prometheus. Rejects `not_found` for an agent that is not configured. */
  agentMetrics(agent: string): Promise<string>;
  /** A dry run by default. Rejects `not_found` for an unknown plan. */
  cleanup(request: CleanupRequest, by: Actor): Promise<CleanupView>;
  /** Refuses new dispatches and stops after the last session. After `timeoutMs` it releases the rest; null: no bound. */
  drain(timeoutMs: number | null, by: Actor): Promise<CapacityView>;
  undrain(by: Actor): Promise<CapacityView>;
  capacity(): CapacityView;
  ready(): ReadyView;
  /** Reads the config again. Rejects `invalid_config`, and the old config stays in use. */
  reload(by: Actor): Promise<ReloadView>;
  /** Rejects `bad_signature`, `no_livekit`. */
  webhook(rawBody: string, authorization: string | undefined): Promise<void>;
  /** A token that can read, keep alive and release this session only. */
  sessionToken(id: string): Promise<string>;
  /** The session of a session token. null: the token is not valid. */
  sessionOfToken(token: string): string | null;
}
