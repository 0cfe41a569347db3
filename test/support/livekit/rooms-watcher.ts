/** The Rooms port on some LiveKit, and all that it told, in order. */
import type { Server } from 'node:http';
import { createServer } from 'node:http';
import { createRooms } from '../../../src/adapters/livekit/rooms/livekit-rooms.ts';
import { createClock } from '../../../src/adapters/telemetry/boot-clock.ts';
import type { RoomKey } from '../../../src/core/ids.ts';
import type { RoomSnapshot, RoomWebhook } from '../../../src/core/rooms/presence.ts';
import type { Rooms } from '../../../src/ports/rooms.ts';
import { until } from '../lib/wait.ts';

export type Told =
  | { readonly kind: 'look'; readonly room: string; readonly look: RoomSnapshot }
  | { readonly kind: 'event'; readonly room: string; readonly event: RoomWebhook }
  | { readonly kind: 'reachable'; readonly reachable: boolean };

export function roomKey(name: string): RoomKey {
  return { project: 'default', name };
}

export interface WatcherOptions {
  readonly livekit: { readonly url: string; readonly apiKey: string; readonly apiSecret: string };
  readonly pollEveryMs: number;
  /** Where LiveKit sends its webhooks; without, they are lost. */
  readonly webhookPort?: number;
}

export class Watcher {
  readonly rooms: Rooms;
  readonly told: Told[] = [];
  readonly clock = createClock();
  /** Webhooks as they came. */
  readonly received: { readonly body: string; readonly authorization: string | undefined }[] = [];
  readonly #webhooks: Server | null;

  constructor({ livekit, pollEveryMs, webhookPort }: WatcherOptions) {
    this.rooms = createRooms({ livekit, clock: this.clock, pollEveryMs });
    this.#webhooks = webhookPort === undefined ? null : this.#receive(webhookPort);
  }

  start(): this {
    this.rooms.start({
      snapshot: (room, look) => this.told.push({ kind: 'look', room: room.name, look }),
      event: (room, event) => this.told.push({ kind: 'event', room: room.name, event }),
      reachable: (reachable) => this.told.push({ kind: 'reachable', reachable }),
      found: () => undefined,
    });
    return this;
  }

  follow(name: string): RoomKey {
    const room = roomKey(name);
    this.rooms.follow(room);
    return room;
  }

  looks(name: string): RoomSnapshot[] {
    return this.told.flatMap((one) => (one.kind === 'look' && one.room === name ? [one.look] : []));
  }

  events(name: string): RoomWebhook[] {
    return this.told.flatMap((one) => (one.kind === 'event' && one.room === name ? [one.event] : []));
  }

  /** The first look at the room, asked for from now on, that is as wanted. */
  sees(name: string, wanted: (look: RoomSnapshot) => boolean, boundMs?: number): Promise<RoomSnapshot> {
    const from = this.clock.now().bootMs;
    const probe = () => this.looks(name).find((look) => look.asOf.bootMs >= from && wanted(look));
    return until(`a look at ${name}`, probe, boundMs);
  }

  hears<K extends RoomWebhook['kind']>(name: string, kind: K, boundMs?: number) {
    const isWanted = (one: RoomWebhook): one is Extract<RoomWebhook, { kind: K }> => one.kind === kind;
    return until(`${kind} in ${name}`, () => this.events(name).find(isWanted), boundMs);
  }

  reaches(reachable: boolean, boundMs = 20_000): Promise<boolean> {
    const is = () => this.rooms.status()?.reachable === reachable;
    return until(`LiveKit is ${reachable ? 'there' : 'away'}`, is, boundMs);
  }

  async close(): Promise<void> {
    await this.rooms.close();
    this.#webhooks?.closeAllConnections();
    this.#webhooks?.close();
  }

  #receive(port: number): Server {
    const server = createServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray()).toString();
      const { authorization } = request.headers;
      this.received.push({ body, authorization });
      response.statusCode = await this.rooms.webhook(body, authorization).then(
        () => 200,
        () => 401,
      );
      response.end();
    });
    return server.listen(port, '127.0.0.1');
  }
}
