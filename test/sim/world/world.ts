/**
 * Simulated time and what is to happen in it: a heap of events, two clocks, and places that stand still.
 * Everything that is not the supervisor's own code is an event here.
 */
import type { Stamp } from '../../../src/core/ids.ts';
import { DEADLINES } from '../../../src/lib/limits/session-limits.ts';
import type { Clock } from '../../../src/ports/clock.ts';
import type { Life } from './life.ts';
import { Random } from './random.ts';

/** Where an event happens: a suspend stops `host` and `supervisor`, a SIGSTOP of the supervisor only that. */
export type Place = 'cloud' | 'host' | 'supervisor';

interface Happening {
  dueMs: number;
  readonly order: number;
  readonly place: Place;
  readonly what: string;
  /** null: it happens whatever supervisor lives. */
  readonly life: Life | null;
  readonly run: () => void;
  cancelled: boolean;
}

const FIRST_WALL_MS = Date.UTC(2026, 10, 21);

/** Found by a check; ends the run. */
export class Violation extends Error {
  readonly rule: string;

  constructor(rule: string, detail: string) {
    super(`${rule}: ${detail}`);
    this.rule = rule;
  }
}

export class World {
  readonly random: Random;
  /** Since the run began. */
  nowMs = 0;
  events = 0;
  /** The last gap that the supervisor must notice: since when, and when it goes on. */
  gapFromMs = 0;
  gapEndMs = 0;
  readonly tracing: boolean;
  readonly trace: string[] = [];
  violation: Violation | null = null;
  #bootedMs = -600_000;
  #wallOffsetMs = FIRST_WALL_MS;
  #boots = 1;
  #order = 0;
  readonly #heap: Happening[] = [];
  readonly #stillUntilMs: Record<Place, number> = { cloud: 0, host: 0, supervisor: 0 };

  constructor(seed: number, tracing: boolean) {
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

  /** The run's own time of a moment on this boot's clock. */
  ofBoot(bootMs: number): number {
    return bootMs + this.#bootedMs;
  }

  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  reboot(): void {
    this.#boots += 1;
    this.#bootedMs = this.nowMs - this.random.between(5_000, 60_000);
  }

  standStill(place: Place, forMs: number): void {
    // Only longer than this is surely noticed as a gap.
    if (place === 'supervisor' && forMs > DEADLINES.gapMs + DEADLINES.gapCheckMs) {
      if (this.nowMs > this.gapEndMs) this.gapFromMs = this.nowMs;
      this.gapEndMs = Math.max(this.gapEndMs, this.nowMs + forMs);
    }
    this.#stillUntilMs[place] = Math.max(this.#stillUntilMs[place], this.nowMs + forMs);
  }

  stillUntilMs(place: Place): number {
    return this.#stillUntilMs[place];
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

  /** Runs the next event; false: nothing will ever happen again. */
  step(): boolean {
    for (let one = this.#pop(); one !== undefined; one = this.#pop()) {
      if (one.cancelled || one.life?.alive === false) continue;
      const stillMs = this.#stillUntilMs[one.place];
      if (stillMs > one.dueMs) {
        one.dueMs = stillMs;
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

  note(who: string, what: string): void {
    if (this.tracing) this.trace.push(`${(this.nowMs / 1000).toFixed(3).padStart(9)} ${who}: ${what}`);
  }

  /** The first one counts. */
  fail(rule: string, detail: string): void {
    this.note('VIOLATION', `${rule}: ${detail}`);
    this.violation ??= new Violation(rule, detail);
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

/** The clock of one supervisor: its alarms die with it, and come a little late at times. */
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
