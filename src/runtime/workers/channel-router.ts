/**
 * How workers are spoken to: over the control socket, or, for unchanged LiveKit agents, as LiveKit speaks to them. Such an agent may have
 * one line of a kit in it as well: then the socket carries what the LiveKit protocol cannot say, and proves that the job itself is alive.
 */
import type { RoomKey, WorkerId } from '../../core/ids.ts';
import type { SupervisorMessage, WorkerMessage } from '../../core/model/control-protocol.ts';
import type { Profile } from '../../core/model/profile.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded, workerOf } from '../../core/model/session.ts';
import { sideRoomOf } from '../../core/rooms/side-room.ts';
import type { Channels, ChannelsListener } from '../../ports/channels.ts';
import type { StandIn, StandInJob } from '../../ports/stand-in.ts';

export interface ChannelRouterOptions {
  readonly channels: Channels;
  readonly standIn: StandIn | null;
  /** The open session that has this worker now. */
  readonly sessionOf: (id: WorkerId) => Session | null;
  /** What a worker that has no session yet was started with. */
  readonly warmProfileOf: (id: WorkerId) => Profile | null;
}

export class ChannelRouter {
  readonly #options: ChannelRouterOptions;
  /** LiveKit agents with a kit's line. */
  readonly #attached = new Set<WorkerId>();
  /** What such a line is greeted with. */
  readonly #welcomes = new Map<WorkerId, SupervisorMessage>();
  #listener: ChannelsListener | null = null;

  constructor(options: ChannelRouterOptions) {
    this.#options = options;
  }

  async listen(listener: ChannelsListener): Promise<void> {
    this.#listener = listener;
    const { channels, standIn } = this.#options;
    await channels.listen({
      hello: (id) => (this.#isLiveKit(id) ? this.#attach(id) : listener.hello(id)),
      message: (id, message) => this.#heard(id, message),
      closed: (id) => (this.#attached.delete(id) ? undefined : listener.closed(id)),
    });
    await standIn?.listen({
      hello: (id) => this.#isLiveKit(id) && listener.hello(id),
      message: (id, message) => {
        // Its main process lives on when the job hangs: the line in the job knows better.
        if (message.type !== 'heartbeat' || !this.#attached.has(id)) listener.message(id, message);
      },
      closed: (id) => listener.closed(id),
      roomsOf: (id) => this.#roomsOf(id).map((room) => room.name),
    });
  }

  tell(id: WorkerId, message: SupervisorMessage): void {
    const { channels, standIn } = this.#options;
    if (!this.#isLiveKit(id)) {
      channels.tell(id, message);
      return;
    }
    if (message.type === 'aclose') standIn?.terminate(id);
    if (message.type === 'welcome') this.#welcomes.set(id, message);
    if (message.type !== 'aclose' && message.type !== 'disconnect' && this.#attached.has(id))
      channels.tell(id, message);
  }

  assign(id: WorkerId, job: StandInJob, assign: Extract<SupervisorMessage, { type: 'assign' }>): void {
    if (this.#isLiveKit(id)) this.#options.standIn?.assign(id, job);
    else this.#options.channels.tell(id, assign);
  }

  forget(id: WorkerId): void {
    this.#attached.delete(id);
    this.#welcomes.delete(id);
  }

  #attach(id: WorkerId): boolean {
    const { sessionOf, warmProfileOf } = this.#options;
    if (sessionOf(id) === null && warmProfileOf(id) === null) return false;
    this.#attached.add(id);
    // After the socket has noted the connection.
    queueMicrotask(() => this.#greet(id));
    return true;
  }

  /** From here on only the job's own heartbeats count: the time to the first one begins now. */
  #greet(id: WorkerId): void {
    if (!this.#attached.has(id)) return;
    const welcome = this.#welcomes.get(id);
    if (welcome !== undefined) this.#options.channels.tell(id, welcome);
    this.#listener?.message(id, { type: 'heartbeat' });
  }

  #heard(id: WorkerId, message: WorkerMessage): void {
    // Ready is when LiveKit's job was taken.
    if (message.type === 'ready' && this.#attached.has(id)) return;
    this.#listener?.message(id, message);
  }

  #isLiveKit(id: WorkerId): boolean {
    const { sessionOf, warmProfileOf } = this.#options;
    return (sessionOf(id)?.spec.profile ?? warmProfileOf(id))?.protocol === 'livekit';
  }

  #roomsOf(id: WorkerId): RoomKey[] {
    const session = this.#options.sessionOf(id);
    if (session === null || isEnded(session) || workerOf(session)?.id !== id) return [];
    const side = sideRoomOf(session.spec);
    return side === null ? [session.spec.room] : [session.spec.room, side];
  }
}
