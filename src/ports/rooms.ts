import type { RoomKey, Stamp } from '../core/ids.ts';
import type { Effect } from '../core/model/effects.ts';
import type { RoomSnapshot, RoomWebhook } from '../core/rooms/presence.ts';

export interface RoomsListener {
  /** A complete look at one room. */
  snapshot(room: RoomKey, observation: RoomSnapshot): void;
  event(room: RoomKey, event: RoomWebhook): void;
  reachable(reachable: boolean): void;
  /** A room that was asked for by `discover` is there; told again and again while it is. */
  found(room: RoomKey, roomSid: string): void;
}

export type RoomStepResult = {
  readonly outcome: 'done' | 'skipped' | 'failed' | 'timeout';
  readonly detail: string | null;
};

export interface RefusedRoom {
  readonly room: RoomKey;
  readonly roomSid: string | null;
  /** The job that we had and gave up, which LiveKit shows as running all the same; null: there was none. */
  readonly ownJob: string | null;
  readonly boundMs: number;
}

/** LiveKit: presence and the room's last steps. */
export interface Rooms {
  /** Rooms to keep an eye on; every one of them is observed once per poll. */
  follow(room: RoomKey): void;
  unfollow(room: RoomKey): void;
  start(listener: RoomsListener): void;
  /** Tells of every room whose name is wanted, by webhook and by listing them all at each poll; null: of none. */
  discover(isWanted: ((name: string) => boolean) | null): void;
  /** Looks at the room soon; many requests for one room make one question. */
  poll(room: RoomKey): void;
  /** `not_found` counts as done. */
  removeAgent(effect: Extract<Effect, { do: 'remove_agent' }>): Promise<RoomStepResult>;
  closeRoom(effect: Extract<Effect, { do: 'close_room' }>): Promise<RoomStepResult>;
  /** Closes it unless LiveKit has given its call to an agent by now, who may not be there yet. */
  closeRefused(refused: RefusedRoom): Promise<RoomStepResult>;
  /** A token for this room alone, kind agent. */
  workerToken(grant: { room: RoomKey; identity: string; ttlMs: number }): Promise<string>;
  /** Verifies, de-duplicates and hands on. Rejects `bad_signature`. */
  webhook(rawBody: string, authorization: string | undefined): Promise<void>;
  /** Since when LiveKit answers or does not; null: not asked yet. */
  status(): { reachable: boolean; since: Stamp; lastError: string | null } | null;
  readonly url: string;
  close(): Promise<void>;
}
