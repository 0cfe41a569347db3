/** Agents whose real process is elsewhere: LiveKit removed them, and they come back with their token until it has expired. */

import type { DisconnectReason, Participant } from '../../../src/core/rooms/presence.ts';
import { REMOVED } from '../../../src/lib/limits/room-limits.ts';
import type { LiveKit } from './livekit.ts';
import { Random } from './random.ts';

export interface Comeback {
  readonly room: string;
  readonly identity: string;
  /** The end of its token, in time of the run. */
  readonly untilMs: number;
  /** Since when it is in the room; null: it is not. */
  insideMs: number | null;
  /** The last time when curfew could not remove it. */
  troubleMs: number;
}

/** Of the removed agents this share comes back. */
const SHARE = 0.3;
/** An agent gives up at last, because a run must become quiet. */
const MOST = 12;

export class Comebacks {
  readonly all = new Map<string, Comeback>();
  readonly #livekit: LiveKit;
  readonly #random: Random;
  readonly #tokens = new Map<string, number>();
  readonly #joins = new Map<string, number>();

  constructor(livekit: LiveKit, seed: number) {
    this.#livekit = livekit;
    this.#random = new Random(seed ^ 0xc0eb);
  }

  /** curfew made a token. */
  token(room: string, identity: string, ttlMs: number): void {
    this.#tokens.set(keyOf(room, identity), this.#livekit.world.nowMs + ttlMs);
  }

  /** An agent is out of its room. LiveKit's clients do not come back when another one has their identity. */
  out(room: string, { identity, kind }: Participant, reason: DisconnectReason): void {
    const key = keyOf(room, identity);
    const known = this.all.get(key);
    if (known !== undefined) known.insideMs = null;
    const isThrownOut = reason === 'participant_removed' || reason === 'room_deleted';
    if (kind !== 'agent' || !isThrownOut || (known === undefined && !this.#random.chance(SHARE))) return;
    const one = known ?? {
      room,
      identity,
      untilMs: this.#tokens.get(key) ?? 0,
      insideMs: null,
      troubleMs: 0,
    };
    this.all.set(key, one);
    this.#comeBack(key, one);
  }

  #comeBack(key: string, one: Comeback): void {
    const { world } = this.#livekit;
    world.after(this.#random.wait(300, 40_000), {
      place: 'cloud',
      what: `${one.identity} comes back`,
      run: () => {
        const joins = this.#joins.get(key) ?? 0;
        if (world.nowMs >= one.untilMs || joins >= MOST || one.insideMs !== null) return;
        this.#joins.set(key, joins + 1);
        this.#livekit.join(one.room, { identity: one.identity, kind: 'agent' });
        one.insideMs = world.nowMs;
      },
    });
  }
}

/** A removed agent is out again within this time: the rarest poll, the wait after a removal, and slow answers. */
export const OUT_AGAIN_MS = REMOVED.everyRounds * 5_000 + REMOVED.mostQuietMs + 15_000;

function keyOf(room: string, identity: string): string {
  return JSON.stringify([room, identity]);
}
