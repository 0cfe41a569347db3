/** The audit file: one entry for each change that a person made. */

/** One change. */
export interface AuditEntry {
  readonly action: 'release' | 'release_many' | 'cleanup' | 'drain' | 'undrain' | 'reload' | 'stop';
  readonly actor: string;
  /** true: a token proves the actor. false: the client on the Unix socket only claims the name. */
  readonly verified: boolean;
  readonly source: 'socket' | 'tcp' | 'cli' | 'signal';
  readonly request: object;
  readonly targets: readonly object[];
  readonly outcome: 'done' | 'refused';
  /** null: the request succeeded. */
  readonly error: string | null;
}

export interface Audit {
  /** Never rejects. A failed write is logged as an error. */
  write(entry: AuditEntry): Promise<void>;
}
