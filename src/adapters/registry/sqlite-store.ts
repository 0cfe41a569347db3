/** The registry's SQL. It is synchronous and runs on the registry's thread. */
import { chmodSync, closeSync, openSync, readSync, statSync, writeFileSync } from 'node:fs';
import type { StatementSync } from 'node:sqlite';
import { DatabaseSync } from 'node:sqlite';
import type { SessionId } from '../../core/ids.ts';
import type { RoomWatch } from '../../core/rooms/kept-room.ts';
import { watchKey } from '../../core/rooms/kept-room.ts';
import { CurfewError } from '../../lib/errors.ts';
import type { SessionQuery } from '../../ports/registry.ts';
import { listSql, writeCursor } from './list-sql.ts';
import { MIGRATIONS, SCHEMA_VERSION } from './migrations.ts';
import type { SessionRow } from './session-row.ts';

export type Request =
  | { readonly op: 'create'; readonly row: SessionRow }
  | { readonly op: 'save'; readonly row: SessionRow; readonly durable: boolean }
  | { readonly op: 'discard'; readonly id: SessionId }
  | { readonly op: 'probe' }
  | { readonly op: 'get'; readonly id: SessionId }
  | { readonly op: 'list'; readonly query: SessionQuery }
  | { readonly op: 'open' }
  | { readonly op: 'setAside'; readonly ids: readonly string[] }
  | { readonly op: 'saveWatch'; readonly watch: RoomWatch }
  | { readonly op: 'deleteWatch'; readonly key: string }
  | { readonly op: 'watches' }
  | { readonly op: 'prune'; readonly endedBeforeWallMs: number };

const WRITES: readonly Request['op'][] = [
  'create',
  'save',
  'discard',
  'setAside',
  'probe',
  'saveWatch',
  'deleteWatch',
  'prune',
];

/** The bodies are parsed JSON. The client checks whether they are sessions. */
export interface SessionPage {
  readonly sessions: readonly unknown[];
  readonly nextCursor: string | null;
}

export type Outcome = { readonly value: unknown } | { readonly error: unknown };

/** The database file was deleted or replaced while it was open. */
export class FileLost extends Error {}

/** Damage that SQLite did not detect. It has the code that SQLite would use. */
class Damaged extends Error {
  readonly errcode = 26;
}

/** Suffixes of the database, its log and its index. The paths must lead to the files that are open. */
const FILES = ['', '-wal', '-shm'] as const;

export class Store {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #inodes: readonly (number | null)[];
  /** True: there was no database, or an empty one. */
  readonly isNew: boolean;

  constructor(path: string) {
    this.#path = path;
    this.#database = new DatabaseSync(path, { timeout: 1000 });
    try {
      chmodSync(path, 0o600);
      this.#database.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON');
      this.isNew = this.#migrate() === 0;
      this.#checkOpen();
    } catch (error) {
      this.#database.close();
      throw error;
    }
    this.#inodes = FILES.map((suffix) => inodeOf(path + suffix));
  }

  /** Copies the whole database, even if its file was deleted. */
  copyTo(path: string): void {
    this.#database.prepare('VACUUM INTO ?').run(path);
  }

  /** Runs the requests in one transaction. A bad request fails alone. */
  runGroup(requests: readonly Request[]): Outcome[] {
    if (!requests.some((one) => WRITES.includes(one.op))) return requests.map((one) => this.#attempt(one));
    this.#checkFile();
    // A flush of the disk is slow, so only writes that must survive a power cut use it.
    const durable = requests.some((one) => one.op === 'create' || (one.op === 'save' && one.durable));
    this.#database.exec(`PRAGMA synchronous=${durable ? 'FULL' : 'NORMAL'}; BEGIN IMMEDIATE`);
    try {
      const outcomes = requests.map((one) => this.#attemptInSavepoint(one));
      this.#database.exec('COMMIT');
      return outcomes;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  close(): void {
    this.#database.close();
  }

  /** Caches statements, because preparing one costs as much as running it. */
  #sql(text: string): StatementSync {
    const known = this.#statements.get(text);
    if (known !== undefined) return known;
    const made = this.#database.prepare(text);
    this.#statements.set(text, made);
    return made;
  }

  #attempt(request: Request): Outcome {
    try {
      return { value: this.#run(request) };
    } catch (error) {
      return { error };
    }
  }

  #attemptInSavepoint(request: Request): Outcome {
    this.#sql('SAVEPOINT one').run();
    const outcome = this.#attempt(request);
    if (!this.#database.isTransaction)
      throw 'error' in outcome ? outcome.error : new Error('the transaction ended early');
    if ('error' in outcome) this.#sql('ROLLBACK TO one').run();
    this.#sql('RELEASE one').run();
    return outcome;
  }

  /** Finds damage in the records that a start needs. */
  #checkOpen(): void {
    const unreadable = this.#database
      .prepare(
        /* sql */ `SELECT count(*) AS count FROM (SELECT body FROM sessions WHERE ended_wall_ms IS NULL OR id IN (SELECT session_id FROM claims)
         UNION ALL SELECT body FROM watches) WHERE NOT json_valid(body)`,
      )
      .get();
    if (unreadable?.count !== 0) throw new Damaged(`a record in ${this.#path} is not valid JSON`);
  }

  /** Because: SQLite writes into deleted or overwritten files without an error. */
  #checkFile(): void {
    for (const [index, suffix] of FILES.entries()) {
      const path = this.#path + suffix;
      const found = inodeOf(path);
      if (found !== (this.#inodes[index] ?? found))
        throw new FileLost(
          `the database file ${path} was ${found === null ? 'deleted' : 'replaced'} while it was in use`,
        );
    }
    if (!hasHeader(this.#path)) throw new Damaged(`the database file ${this.#path} was overwritten`);
  }

  #run(request: Request): unknown {
    switch (request.op) {
      case 'create':
        return this.#create(request.row);
      case 'save':
        return this.#save(request.row);
      case 'discard':
        return this.#discard(request.id);
      case 'probe':
        return this.#database.exec(`PRAGMA user_version=${SCHEMA_VERSION}`);
      case 'get':
        return this.#get(request.id);
      case 'list':
        return this.#list(request.query);
      case 'open':
        return this.#open();
      case 'setAside':
        return this.#setAside(request.ids);
      case 'saveWatch':
        return void this.#database
          .prepare(
            'INSERT INTO watches (room_id, body) VALUES (?, ?) ON CONFLICT (room_id) DO UPDATE SET body = excluded.body',
          )
          .run(watchKey(request.watch), JSON.stringify(request.watch));
      case 'deleteWatch':
        return void this.#sql('DELETE FROM watches WHERE room_id = ?').run(request.key);
      case 'watches':
        return this.#sql('SELECT body FROM watches').all().map(readBody);
      case 'prune':
        return Number(
          this.#database
            .prepare('DELETE FROM sessions WHERE ended_wall_ms < ?')
            .run(request.endedBeforeWallMs).changes,
        );
    }
  }

  #create(row: SessionRow): void {
    if (this.#sql('SELECT 1 FROM sessions WHERE id = ?').get(row.id) !== undefined)
      throw new CurfewError('id_conflict', `id "${row.id}" is recorded for another session`, { id: row.id });
    this.#save(row);
  }

  #save(row: SessionRow): void {
    this.#claim(row);
    this.#upsert(row);
  }

  #discard(id: SessionId): void {
    this.#sql('DELETE FROM claims WHERE session_id = ?').run(id);
    this.#sql('DELETE FROM sessions WHERE id = ?').run(id);
  }

  /** Moves damaged rows into a file next to the database, and returns its path. */
  #setAside(ids: readonly string[]): string {
    const rows = ids.map((id) => this.#sql('SELECT * FROM sessions WHERE id = ?').get(id));
    const aside = `${this.#path}.records-${new Date().toISOString().replaceAll(':', '')}`;
    writeFileSync(aside, rows.map((row) => `${JSON.stringify(row)}\n`).join(''), {
      mode: 0o600,
      flush: true,
    });
    for (const id of ids) this.#discard(id as SessionId);
    return aside;
  }

  #claim({ id, claim }: SessionRow): void {
    if (claim === null) {
      this.#sql('DELETE FROM claims WHERE session_id = ?').run(id);
      return;
    }
    const found = this.#sql('SELECT session_id FROM claims WHERE key = ?').get(claim);
    const holder = found === undefined ? null : String(found.session_id);
    if (holder === id) return;
    if (holder !== null)
      throw new CurfewError('room_taken', `the room is recorded for session "${holder}"`, { holder });
    this.#sql('INSERT INTO claims (key, session_id) VALUES (?, ?)').run(claim, id);
  }

  #upsert(row: SessionRow): void {
    const { id, project, room, agent, user, state, createdWallMs, endedWallMs, labels, body } = row;
    this.#sql(
      `INSERT INTO sessions (id, project, room, agent, user, state, created_wall_ms, ended_wall_ms, labels, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended_wall_ms = excluded.ended_wall_ms, body = excluded.body`,
    ).run(id, project, room, agent, user, state, createdWallMs, endedWallMs, labels, body);
  }

  #get(id: SessionId): unknown {
    const row = this.#sql('SELECT body FROM sessions WHERE id = ?').get(id);
    return row === undefined ? null : readBody(row);
  }

  /** Returns ids and bodies as one JSON text, because text crosses to the other thread faster than objects. */
  #open(): string {
    const sql =
      'SELECT id, body FROM sessions WHERE ended_wall_ms IS NULL OR id IN (SELECT session_id FROM claims) ORDER BY seq';
    const row = this.#sql(
      `SELECT json_group_array(json_array(id, json(body))) AS bodies FROM (${sql})`,
    ).get();
    return String(row?.bodies);
  }

  #list(query: SessionQuery): SessionPage {
    const { sql, values } = listSql(query);
    const rows = this.#database.prepare(sql).all(...values);
    const page = rows.slice(0, query.limit);
    const last = page.at(-1);
    const more = rows.length > query.limit && last !== undefined;
    return {
      sessions: page.map(readBody),
      nextCursor: more ? writeCursor(Number(last.seq)) : null,
    };
  }

  /** Returns the version before the migration. Throws newer_schema. */
  #migrate(): number {
    const row = this.#database.prepare('PRAGMA user_version').get();
    const found = Number(row?.user_version ?? 0);
    if (found > SCHEMA_VERSION) {
      const detail = `${this.#path} has schema ${found}; this curfew knows up to ${SCHEMA_VERSION}`;
      throw new CurfewError('newer_schema', detail, { found, known: SCHEMA_VERSION });
    }
    for (const { version, sql } of MIGRATIONS) {
      if (version > found) this.#database.exec(`BEGIN; ${sql} PRAGMA user_version=${version}; COMMIT`);
    }
    return found;
  }
}

/** The first bytes of each database. Source: sqlite.org/fileformat.html. */
const HEADER = 'SQLite format 3\0';

function hasHeader(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const start = Buffer.alloc(HEADER.length);
    return readSync(fd, start, 0, start.length, 0) === start.length && start.toString('latin1') === HEADER;
  } finally {
    closeSync(fd);
  }
}

/** `null`: there is no file. */
function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}

function readBody(row: Record<string, unknown>): unknown {
  try {
    return JSON.parse(String(row.body));
  } catch {
    throw new Damaged('a record is not valid JSON');
  }
}
