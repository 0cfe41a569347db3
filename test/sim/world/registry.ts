/** The simulated disk, with one writer in order. A commit survives the supervisor. A flush survives the host. */
import type { ClaimKey, SessionId } from '../../../src/core/ids.ts';
import type { Session } from '../../../src/core/model/session.ts';
import { publicState } from '../../../src/core/model/session.ts';
import { fromRecord, toRecord } from '../../../src/core/model/session-record.ts';
import type { RoomWatch } from '../../../src/core/rooms/kept-room.ts';
import { watchKey } from '../../../src/core/rooms/kept-room.ts';
import { CurfewError } from '../../../src/lib/errors.ts';
import { REGISTRY } from '../../../src/lib/limits/storage-limits.ts';
import type { DurableWrite, Registry, SessionQuery } from '../../../src/ports/registry.ts';
import type { DiskState } from './host.ts';
import type { Life } from './life.ts';
import { never } from './life.ts';
import type { World } from './world.ts';

interface Tables {
  readonly sessions: Map<SessionId, Session>;
  readonly claims: Map<ClaimKey, SessionId>;
  readonly watches: Map<string, RoomWatch>;
}

type Job = () => void;

export interface DiskWatch {
  /** The runtime wants this state on record. Every change of phase passes here. */
  wanted(session: Session): void;
  committed(write: DurableWrite): void;
  /** curfew refused the session. The disk deletes its record, also a pending one, before any later write. */
  discarding(id: SessionId): void;
  discarded(id: SessionId): void;
}

export class Disk {
  readonly world: World;
  tables: Tables = { sessions: new Map(), claims: new Map(), watches: new Map() };
  state: DiskState = 'ok';
  /** The last time when a write failed or was late. */
  troubleMs = Number.NEGATIVE_INFINITY;
  watch: DiskWatch = {
    wanted: () => undefined,
    committed: () => undefined,
    discarding: () => undefined,
    discarded: () => undefined,
  };
  /** The tables as of the last flush; null: none yet. */
  #flushed: Tables | null = null;
  #waiting: Job[] = [];

  constructor(world: World) {
    this.world = world;
  }

  /** Adds a job behind the waiting ones. Jobs that wait together are committed together. */
  enqueue(life: Life, job: Job): void {
    this.#waiting.push(job);
    if (this.#waiting.length === 1) this.#turn(life);
  }

  #turn(life: Life): void {
    const { random } = this.world;
    const waitMs =
      this.state === 'ok' || this.state === 'full' ? random.wait(10, 40) : random.between(100, 4_500);
    this.world.after(waitMs, {
      place: 'supervisor',
      what: 'the registry works',
      life,
      run: () => this.#work(life),
    });
  }

  #work(life: Life): void {
    if (this.state !== 'hung')
      for (const job of this.#waiting.splice(0)) {
        if (!life.alive) return;
        job();
      }
    if (this.#waiting.length > 0) this.#turn(life);
  }

  flush(): void {
    this.#flushed = {
      sessions: new Map(this.tables.sessions),
      claims: new Map(this.tables.claims),
      watches: new Map(this.tables.watches),
    };
  }

  /** The supervisor ended, and so did its writer. */
  restart(): void {
    this.#waiting = [];
  }

  /** Half of the power cuts lose the commits since the last flush. */
  powerCut(): void {
    if (this.#flushed === null || this.world.random.chance(0.5)) return;
    this.tables = this.#flushed;
    this.#flushed = null;
    this.flush();
  }
}

export class SimRegistry implements Registry {
  readonly isNew = false;

  /** The simulated disk is full or slow, but loses nothing. */
  onLost(): void {}

  readonly #disk: Disk;
  readonly #life: Life;

  constructor(disk: Disk, life: Life) {
    this.#disk = disk;
    this.#life = life;
  }

  create(write: DurableWrite): Promise<void> {
    if (this.#life.alive) this.#disk.watch.wanted(write.session);
    return this.#ask('create', true, () => {
      const { spec } = write.session;
      if (this.#disk.tables.sessions.has(spec.id))
        throw new CurfewError('id_conflict', `id "${spec.id}" is recorded`, { id: spec.id });
      this.#write(write, true);
    });
  }

  save(write: DurableWrite, durable: boolean): Promise<void> {
    if (this.#life.alive) this.#disk.watch.wanted(write.session);
    return this.#ask('save', true, () => this.#write(write, durable));
  }

  discard(id: SessionId): Promise<void> {
    if (this.#life.alive) this.#disk.watch.discarding(id);
    return this.#ask('discard', true, () => {
      const { claims, sessions } = this.#disk.tables;
      for (const [key, owner] of claims) if (owner === id) claims.delete(key);
      sessions.delete(id);
      this.#disk.watch.discarded(id);
    });
  }

  probe(): Promise<void> {
    return this.#ask('probe', true, () => undefined);
  }

  get(id: SessionId): Promise<Session | null> {
    return this.#ask('get', false, () => read(this.#disk.tables.sessions.get(id) ?? null));
  }

  list(query: SessionQuery): Promise<{ sessions: Session[]; nextCursor: string | null }> {
    return this.#ask('list', false, () => {
      const all = [...this.#disk.tables.sessions.values()].reverse().map(read);
      const wanted = all.filter((one) => query.states?.includes(publicState(one)) ?? true);
      return { sessions: wanted.slice(0, query.limit), nextCursor: null };
    });
  }

  open(): Promise<Session[]> {
    return this.#ask('open', false, () => {
      const { sessions, claims } = this.#disk.tables;
      const holders = new Set(claims.values());
      return [...sessions.values()]
        .filter(({ phase, spec }) => phase.name !== 'ended' || holders.has(spec.id))
        .map(read);
    });
  }

  saveWatch(watch: RoomWatch): Promise<void> {
    return this.#ask('saveWatch', true, () => void this.#disk.tables.watches.set(watchKey(watch), watch));
  }

  deleteWatch(watch: Pick<RoomWatch, 'room' | 'claim'>): Promise<void> {
    return this.#ask('deleteWatch', true, () => void this.#disk.tables.watches.delete(watchKey(watch)));
  }

  watches(): Promise<RoomWatch[]> {
    return this.#ask('watches', false, () => [...this.#disk.tables.watches.values()]);
  }

  prune(): Promise<number> {
    return Promise.resolve(0);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #write(write: DurableWrite, durable: boolean): void {
    const { session, claim } = write;
    const { id, room } = session.spec;
    const { claims, sessions } = this.#disk.tables;
    const holder = claim === null ? undefined : claims.get(claim);
    if (holder !== undefined && holder !== id)
      throw new CurfewError('room_taken', `room "${room.name}" is recorded for "${holder}"`, { holder });
    if (claim === null) {
      for (const [key, owner] of claims) if (owner === id) claims.delete(key);
    } else claims.set(claim, id);
    sessions.set(id, session);
    if (durable) this.#disk.flush();
    this.#disk.watch.committed(write);
  }

  /** The request, the work and the answer are three events. The supervisor may die before and after each. */
  #ask<T>(what: string, writes: boolean, work: () => T): Promise<T> {
    const disk = this.#disk;
    const life = this.#life;
    if (life.dead(`before registry ${what}`)) return never();
    return new Promise((resolve, reject) => {
      const cancelTimeout = this.#at(REGISTRY.timeoutMs, `registry ${what} is late`, () => {
        disk.troubleMs = disk.world.nowMs;
        reject(new CurfewError('registry_unavailable', 'the registry: no answer in time'));
      });
      if (disk.state !== 'ok') disk.troubleMs = disk.world.nowMs;
      disk.enqueue(life, () => {
        if (life.dead(`before the registry does ${what}`)) return;
        const outcome = attempt(() => {
          if (writes && disk.state === 'full') {
            disk.troubleMs = disk.world.nowMs;
            throw new CurfewError('registry_unavailable', 'the registry: database or disk is full');
          }
          return work();
        });
        if (life.dead(`after the registry did ${what}`)) return;
        this.#at(disk.world.random.between(0, 1), `registry answers ${what}`, () => {
          cancelTimeout();
          if ('error' in outcome) reject(outcome.error);
          else resolve(outcome.value);
        });
      });
    });
  }

  #at(waitMs: number, what: string, run: () => void): () => void {
    return this.#disk.world.after(waitMs, { place: 'supervisor', what, life: this.#life, run });
  }
}

/** A copy as plain JSON, as the database returns it. */
function read<T extends Session | null>(session: T): T {
  return (session === null ? null : fromRecord(JSON.parse(JSON.stringify(toRecord(session))))) as T;
}

function attempt<T>(work: () => T): { value: T } | { error: unknown } {
  try {
    return { value: work() };
  } catch (error) {
    return { error };
  }
}
