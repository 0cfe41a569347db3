/** The Rooms port on a LiveKit server, with all its reports in order. */
import type { Server } from 'node:http';
import { createServer } from 'node:http';
import { createRooms } from '../../../src/adapters/livekit/rooms/livekit-rooms.ts';
import { createClock } from '../../../src/adapters/telemetry/boot-clock.ts';
import type { RoomKey } from '../../../src/core/ids.ts';
import type { RoomSnapshot, RoomWebhook } from '../../../src/core/rooms/presence.ts';
import type { Rooms } from '../../../src/ports/rooms.ts';
import { until } from '../lib/wait.ts';

export type Report =
  | { readonly kind: 'snapshot'; readonly room: string; readonly snapshot: RoomSnapshot }
  | { readonly kind: 'webhook'; readonly room: string; readonly webhook: RoomWebhook }
  | { readonly kind: 'reachable'; readonly reachable: boolean };

export function roomKey(name: string): RoomKey {
  return { project: 'default', name };
}

export interface RoomsWatcherOptions {
  readonly livekit: { readonly url: string; readonly apiKey: string; readonly apiSecret: string };
  readonly pollEveryMs: number;
  /** The port to which LiveKit sends its webhooks. Absent: webhooks are lost. */
  readonly webhookPort?: number;
}

export class RoomsWatcher {
  readonly rooms: Rooms;
  readonly reports: Report[] = [];
  readonly clock = createClock();
  /** The webhook requests, as they arrived. */
  readonly received: { readonly body: string; readonly authorization: string | undefined }[] = [];
  readonly #webhooks: Server | null;

  constructor({ livekit, pollEveryMs, webhookPort }: RoomsWatcherOptions) {
    this.rooms = createRooms({ livekit, clock: this.clock, pollEveryMs });
    this.#webhooks = webhookPort === undefined ? null : this.#receive(webhookPort);
  }

  start(): this {
    this.rooms.start({
      snapshot: (room, snapshot) => this.reports.push({ kind: 'snapshot', room: room.name, snapshot }),
      event: (room, webhook) => this.reports.push({ kind: 'webhook', room: room.name, webhook }),
      reachable: (reachable) => this.reports.push({ kind: 'reachable', reachable }),
      found: () => undefined,
    });
    return this;
  }

  follow(name: string): RoomKey {
    const room = roomKey(name);
    this.rooms.follow(room);
    return room;
  }

  snapshotsOf(name: string): RoomSnapshot[] {
    return this.reports.flatMap((one) =>
      one.kind === 'snapshot' && one.room === name ? [one.snapshot] : [],
    );
  }

  webhooksOf(name: string): RoomWebhook[] {
    return this.reports.flatMap((one) => (one.kind === 'webhook' && one.room === name ? [one.webhook] : []));
  }

  /** The first matching snapshot of the room from a request that LiveKit receives after this call. */
  nextSnapshot(
    name: string,
    matches: (snapshot: RoomSnapshot) => boolean,
    boundMs?: number,
  ): Promise<RoomSnapshot> {
    const from = this.clock.now().bootMs;
    const find = () =>
      this.snapshotsOf(name).find((snapshot) => snapshot.asOf.bootMs >= from && matches(snapshot));
    return until(`a snapshot of ${name}`, find, boundMs);
  }

  webhook<K extends RoomWebhook['kind']>(name: string, kind: K, boundMs?: number) {
    const isWanted = (one: RoomWebhook): one is Extract<RoomWebhook, { kind: K }> => one.kind === kind;
    return until(`${kind} in ${name}`, () => this.webhooksOf(name).find(isWanted), boundMs);
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
