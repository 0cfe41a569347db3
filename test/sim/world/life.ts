/**
 * One supervisor process. At each call of an adapter it may die, before and after the call took effect.
 * From then on nothing of it happens: its calls do nothing, its promises never settle, its alarms are gone.
 */
import type { World } from './world.ts';

export class Life {
  alive = true;
  /** Takes requests. */
  ready = false;
  /** It is being ended in good order. */
  stopping = false;
  /** Nothing kills it any more. */
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

  /** It will die at that many points from now. */
  light(points: number): void {
    this.#fuse = points;
  }

  die(where: string): void {
    if (!this.alive) return;
    this.alive = false;
    this.#world.note(`life ${this.number}`, `DIES at ${where}`);
    this.#onDeath(this, where);
  }

  /** A point at which it may die. True: it is dead, so nothing may happen. */
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

/** What a call of a dead supervisor gives. */
export function never<T>(): Promise<T> {
  return new Promise<T>(() => undefined);
}
