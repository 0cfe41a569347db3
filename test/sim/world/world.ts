/**
 * Simulated time: a heap of events, two clocks, and places that can be suspended.
 * Everything outside of the supervisor's own code is an event here.
 */
import type { Stamp } from '../../../src/core/ids.ts';
import { DEADLINES } from '../../../src/lib/limits/session-limits.ts';
import type { Clock } from '../../../src/ports/clock.ts';
import type { CheckName } from '../../promises.ts';
import type { Life } from './life.ts';
import { Random } from './random.ts';

/** Where an event happens. A suspend stops `host` and `supervisor`. A SIGSTOP stops `supervisor` alone. */
export type Place = 'cloud' | 'host' | 'supervisor';

interface Happening {
  dueMs: number;
  readonly order: number;
  readonly place: Place;
  readonly what: string;
  /** The event happens only while this supervisor lives; null: it happens always. */
  readonly life: Life | null;
  readonly run: () => void;
  cancelled: boolean;
}

const FIRST_WALL_MS = Date.UTC(2026, 10, 21);

/** A check found a broken promise. It ends the run. */
export class Violation extends Error {
  readonly check: CheckName;

  constructor(check: CheckName, detail: string) {
    super(`${check}: ${detail}`);
    this.check = check;
  }
}

export class World {
  readonly seed: number;
  readonly random: Random;
  /** Time since the run began. */
  nowMs = 0;
  events = 0;
  /** Begin and end of the last gap that the supervisor must notice. */
  gapFromMs = 0;
  gapEndMs = 0;
  readonly tracing: boolean;
  readonly trace: string[] = [];
  violation: Violation | null = null;
  #bootedMs = -600_000;
  #wallOffsetMs = FIRST_WALL_MS;
  #boots = 1;
  #wallJumped = false;
  /** The wall clock jumped before a reboot, so nobody can tell how old a record of another boot is. */
  isAgeUnknown = false;
  #order = 0;
  readonly #heap: Happening[] = [];
  readonly #suspendedUntilMs: Record<Place, number> = { cloud: 0, host: 0, supervisor: 0 };

  constructor(seed: number, tracing: boolean) {
    this.seed = seed;
    this.random = new Random(seed);
    this.tracing = tracing;
  }

  get bootId(): string {
    return `boot-${this.#boots}`;
  }

  get bootMs(): number {
    return this.nowMs - this.#bootedMs;
  }

  get stamp(): Stamp {
    return { bootMs: this.bootMs, wallMs: this.nowMs + this.#wallOffsetMs };
  }

  /** Converts a time on this boot's clock to the time of the run. */
  ofBoot(bootMs: number): number {
    return bootMs + this.#bootedMs;
  }

  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
    this.#wallJumped = true;
  }

  reboot(): void {
    this.#boots += 1;
    this.isAgeUnknown ||= this.#wallJumped;
    this.#bootedMs = this.nowMs - this.random.between(5_000, 60_000);
  }

  suspend(place: Place, forMs: number): void {
    // The supervisor surely notices only a longer pause as a gap.
    if (place === 'supervisor' && forMs > DEADLINES.gapMs + DEADLINES.gapCheckMs) {
      if (this.nowMs > this.gapEndMs) this.gapFromMs = this.nowMs;
      this.gapEndMs = Math.max(this.gapEndMs, this.nowMs + forMs);
    }
    this.#suspendedUntilMs[place] = Math.max(this.#suspendedUntilMs[place], this.nowMs + forMs);
  }

  suspendedUntilMs(place: Place): number {
    return this.#suspendedUntilMs[place];
  }

  after(
    waitMs: number,
    event: { place: Place; what: string; life?: Life | null; run: () => void },
  ): () => void {
    const one: Happening = {
      dueMs: this.nowMs + Math.max(0, waitMs),
      order: this.#order++,
      place: event.place,
      what: event.what,
      life: event.life ?? null,
      run: event.run,
      cancelled: false,
    };
    this.#push(one);
    return () => {
      one.cancelled = true;
    };
  }

  /** Runs the next event; false: no event is left. */
  step(): boolean {
    for (let one = this.#pop(); one !== undefined; one = this.#pop()) {
      if (one.cancelled || one.life?.alive === false) continue;
      const suspendedMs = this.#suspendedUntilMs[one.place];
      if (suspendedMs > one.dueMs) {
        one.dueMs = suspendedMs;
        this.#push(one);
        continue;
      }
      this.nowMs = Math.max(this.nowMs, one.dueMs);
      this.events += 1;
      this.note(one.place, one.what);
      one.run();
      return true;
    }
    return false;
  }

  nextMs(): number {
    return this.#heap[0]?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  note(source: string, what: string): void {
    if (this.tracing) this.trace.push(`${(this.nowMs / 1000).toFixed(3).padStart(9)} ${source}: ${what}`);
  }

  /** Keeps only the first violation of a run. */
  fail(check: CheckName, detail: string): void {
    this.note('VIOLATION', `${check}: ${detail}`);
    this.violation ??= new Violation(check, detail);
  }

  #push(one: Happening): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(one);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !before(one, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = one;
  }

  #pop(): Happening | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const [a, b] = [heap[left], heap[left + 1]];
      if (a === undefined) break;
      const [child, index] = b !== undefined && before(b, a) ? [b, left + 1] : [a, left];
      if (!before(child, last)) break;
      heap[at] = child;
      at = index;
    }
    heap[at] = last;
    return first;
  }
}

function before(a: Happening, b: Happening): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}

/** The clock of one supervisor. Its alarms die with it, and some come a little late. */
export function clockOf(world: World, life: Life): Clock {
  return {
    now: () => world.stamp,
    at: (bootMs, callback) => {
      if (!life.alive) return () => undefined;
      const lateMs = world.random.chance(0.2) ? world.random.between(0, 3) : 0;
      return world.after(world.ofBoot(bootMs) - world.nowMs + lateMs, {
        place: 'supervisor',
        what: 'alarm',
        life,
        run: callback,
      });
    },
  };
}
