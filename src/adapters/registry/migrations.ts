/** The registry's schema as a list of steps. Never change a released step; add a new one. */
export const MIGRATIONS: readonly { readonly version: number; readonly sql: string }[] = [
  {
    version: 1,
    sql: /* sql */ `
      CREATE TABLE sessions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        project TEXT NOT NULL,
        room TEXT NOT NULL,
        agent TEXT NOT NULL,
        user TEXT,
        state TEXT NOT NULL,
        created_wall_ms REAL NOT NULL,
        ended_wall_ms REAL,
        labels TEXT NOT NULL,
        body TEXT NOT NULL
      ) STRICT;
      CREATE INDEX sessions_state ON sessions (state, seq);
      CREATE INDEX sessions_room ON sessions (room, seq);
      CREATE INDEX sessions_ended ON sessions (ended_wall_ms) WHERE ended_wall_ms IS NOT NULL;
      CREATE TABLE claims (key TEXT PRIMARY KEY, session_id TEXT NOT NULL) STRICT, WITHOUT ROWID;
      CREATE TABLE watches (room_id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
    `,
  },
];

export const SCHEMA_VERSION = Math.max(...MIGRATIONS.map((one) => one.version));
