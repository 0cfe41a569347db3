/** LiveKit's rooms: presence, and the last steps of a room. */
import type { RoomKey, Stamp } from '../core/ids.ts';
import type { Acceptance } from '../core/model/agent-answer.ts';
import type { Effect } from '../core/model/effects.ts';
import type { JobMessage } from '../core/model/job-options.ts';
import type { LiveKitKeys } from '../core/model/profile.ts';
import type { RoomSnapshot, RoomWebhook } from '../core/rooms/presence.ts';

export interface RoomsListener {
  /** All participants of one room at one time. */
  snapshot(room: RoomKey, observation: RoomSnapshot): void;
  event(room: RoomKey, event: RoomWebhook): void;
  /** LiveKit began or stopped to answer. */
  reachable(reachable: boolean): void;
  /** A room that `discover` wants exists. Called again at each poll while the room exists. */
  found(room: RoomKey, roomSid: string): void;
}

export type RoomStepResult = {
  readonly outcome: 'done' | 'skipped' | 'failed' | 'timeout';
  readonly detail: string | null;
};

export interface RefusedRoom {
  readonly room: RoomKey;
  readonly roomSid: string | null;
  /** The job that curfew had and gave up; LiveKit still shows it as running. null: there was none. */
  readonly ownJob: string | null;
  readonly boundMs: number;
}

/** How often the rounds of polls take a snapshot of a followed room. */
export type RoomPace = 'each_round' | 'rarely';

export interface Rooms {
  /** A followed room gets a snapshot in each round of polls, or rarely, and after each of its webhooks. The last call counts. */
  follow(room: RoomKey, pace?: RoomPace): void;
  unfollow(room: RoomKey): void;
  start(listener: RoomsListener): void;
  /** Reports each room with a wanted name, from webhooks and from the list of all rooms at each poll. null: no room. */
  discover(isWanted: ((name: string) => boolean) | null): void;
  /** Takes a snapshot of the room soon. Several requests for one room make one request to LiveKit. */
  poll(room: RoomKey): void;
  /** LiveKit's `Room` as JSON. null: there is no such room. Rejects when LiveKit does not answer within the bound. */
  describe(room: RoomKey, boundMs: number): Promise<JobMessage | null>;
  /** LiveKit's answer `not_found` counts as done. LiveKit hears that older tokens of this identity are of no use any more. */
  removeAgent(effect: Extract<Effect, { do: 'remove_agent' }>): Promise<RoomStepResult>;
  closeRoom(effect: Extract<Effect, { do: 'close_room' }>): Promise<RoomStepResult>;
  /** Closes the room if it still has this sid and nobody is in it. */
  closeEmpty(
    room: Pick<Extract<Effect, { do: 'close_room' }>, 'room' | 'roomSid' | 'boundMs'>,
  ): Promise<RoomStepResult>;
  /** Closes the room, except if LiveKit has given the call to another agent, even one that has not joined yet. */
  closeRefused(refused: RefusedRoom): Promise<RoomStepResult>;
  /**
   * A token of kind agent that is valid for this room alone. `as`: the participant that a LiveKit agent wants to be. `keys`:
   * the keys that sign it, in place of the supervisor's.
   */
  workerToken(grant: {
    room: RoomKey;
    identity: string;
    ttlMs: number;
    as?: Acceptance;
    keys?: Pick<LiveKitKeys, 'apiKey' | 'apiSecret'>;
  }): Promise<string>;
  /** Verifies a webhook, drops repeats and passes the rest to the listener. Rejects `bad_signature`. */
  webhook(rawBody: string, authorization: string | undefined): Promise<void>;
  /** `since`: the last change between reachable and not. null: no request was made yet. */
  status(): { reachable: boolean; since: Stamp; lastError: string | null } | null;
  readonly url: string;
  close(): Promise<void>;
}
