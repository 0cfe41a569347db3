/**
 * The life of one supervisor process. It may die at each call of an adapter, before or after the effect of that call.
 * After its death its calls do nothing, its promises never settle, and its alarms are gone.
 */
import type { World } from './world.ts';

export class Life {
  alive = true;
  /** It takes requests. */
  ready = false;
  /** An orderly stop is under way. */
  stopping = false;
  /** The scenario no longer kills it. */
  spared = false;
  readonly number: number;
  readonly bornMs: number;
  #fuse: number | null = null;
  readonly #world: World;
  readonly #onDeath: (life: Life, where: string) => void;

  constructor(world: World, number: number, onDeath: (life: Life, where: string) => void) {
    this.#world = world;
    this.number = number;
    this.bornMs = world.nowMs;
    this.#onDeath = onDeath;
  }

  spare(): void {
    this.spared = true;
    this.#fuse = null;
  }

  /** It dies after this many points. */
  light(points: number): void {
    this.#fuse = points;
  }

  die(where: string): void {
    if (!this.alive) return;
    this.alive = false;
    this.#world.note(`life ${this.number}`, `DIES at ${where}`);
    this.#onDeath(this, where);
  }

  /** A point at which it may die. true: it is dead, and the caller must do nothing. */
  dead(where: string): boolean {
    if (!this.alive) return true;
    if (this.#fuse === null) return false;
    if (this.#fuse > 0) {
      this.#fuse -= 1;
      return false;
    }
    this.die(where);
    return true;
  }
}

/** The result of a call by a dead supervisor. */
export function never<T>(): Promise<T> {
  return new Promise<T>(() => undefined);
}
