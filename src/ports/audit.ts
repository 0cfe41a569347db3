/** One change that a person caused. */
export interface AuditEntry {
  readonly action: 'release' | 'release_many' | 'cleanup' | 'drain' | 'undrain' | 'reload' | 'stop';
  readonly actor: string;
  /** By a token; a local user is only stated. */
  readonly verified: boolean;
  readonly source: 'socket' | 'tcp' | 'cli' | 'signal';
  readonly request: object;
  readonly targets: readonly object[];
  readonly outcome: 'done' | 'refused';
  readonly error: string | null;
}

export interface Audit {
  /** Never rejects: what could not be written is logged. */
  write(entry: AuditEntry): Promise<void>;
}
