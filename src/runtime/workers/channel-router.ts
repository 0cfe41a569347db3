/**
 * Routes messages to workers: over the control socket, or in LiveKit's protocol to agents with `protocol: livekit`.
 * Such an agent may also use `attach` of a kit. Then the control socket carries the messages that LiveKit's protocol lacks.
 * Its heartbeats prove that the job itself is alive.
 */
import type { RoomKey, WorkerId } from '../../core/ids.ts';
import type { SupervisorMessage, WorkerMessage } from '../../core/model/control-protocol.ts';
import { LAUNCHER_KITS } from '../../core/model/control-protocol.ts';
import type { LiveKitAccess, Profile } from '../../core/model/profile.ts';
import { accessOf } from '../../core/model/profile.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded, workerOf } from '../../core/model/session.ts';
import { sideRoomOf } from '../../core/rooms/side-room.ts';
import type { Channels, ChannelsListener } from '../../ports/channels.ts';
import type { AgentAccess, StandIn, StandInJob, StandInListener } from '../../ports/stand-in.ts';

export interface ChannelRouterOptions {
  readonly channels: Channels;
  readonly standIn: StandIn | null;
  /** The session of this worker; null: it has none. */
  readonly sessionOf: (id: WorkerId) => Session | null;
  /** The profile of a warm worker that has no session yet. */
  readonly warmProfileOf: (id: WorkerId) => Profile | null;
  /** The job of a LiveKit agent has connected to the control socket. */
  readonly attached: (id: WorkerId, by: 'launcher' | 'code') => void;
  /** Appends a line to the worker's log. */
  readonly note: (id: WorkerId, line: string) => void;
}

/** Also an agent's answer to the offer of its job. */
type ChannelRouterListener = ChannelsListener & Pick<StandInListener, 'answered'>;

export class ChannelRouter {
  readonly #options: ChannelRouterOptions;
  /** LiveKit agents that are attached over the control socket. */
  readonly #attached = new Set<WorkerId>();
  /** The welcome message for each attached agent. */
  readonly #welcomes = new Map<WorkerId, SupervisorMessage>();
  #listener: ChannelsListener | null = null;

  constructor(options: ChannelRouterOptions) {
    this.#options = options;
  }

  async listen(listener: ChannelRouterListener): Promise<void> {
    this.#listener = listener;
    const { channels, standIn } = this.#options;
    await channels.listen({
      hello: (id, kit) => (this.#isLiveKit(id) ? this.#attach(id, kit) : listener.hello(id)),
      message: (id, message) => this.#received(id, message),
      closed: (id) => (this.#attached.delete(id) ? undefined : listener.closed(id)),
    });
    await standIn?.listen({
      hello: (id) => this.#isLiveKit(id) && listener.hello(id),
      message: (id, message) => {
        // The main process can live while the job hangs. The heartbeats of an attached job are the proof.
        if (message.type !== 'heartbeat' || !this.#attached.has(id)) listener.message(id, message);
      },
      closed: (id) => listener.closed(id),
      answered: (id, answer) => listener.answered(id, answer),
      roomsOf: (id) => this.#roomsOf(id).map((room) => room.name),
      accessOf: (id) => this.#accessOf(id),
      agentNameOf: (id) => this.#profileOf(id)?.agentName ?? null,
      note: (id, line) => this.#options.note(id, line),
    });
  }

  send(id: WorkerId, message: SupervisorMessage): void {
    const { channels, standIn } = this.#options;
    if (!this.#isLiveKit(id)) {
      channels.send(id, message);
      return;
    }
    if (message.type === 'aclose') standIn?.terminate(id);
    if (message.type === 'welcome') this.#welcomes.set(id, message);
    if (message.type !== 'aclose' && message.type !== 'disconnect' && this.#attached.has(id))
      channels.send(id, message);
  }

  /** Offers its job to a LiveKit agent. false: the agent is not connected. */
  offer(id: WorkerId, job: StandInJob): boolean {
    return this.#options.standIn?.offer(id, job) ?? false;
  }

  /** Gives its room to a LiveKit agent that accepted its job. */
  admit(id: WorkerId, access: AgentAccess): void {
    this.#options.standIn?.admit(id, access);
  }

  /** The warm LiveKit agent gets no room for the offered job. */
  withdraw(id: WorkerId): void {
    this.#options.standIn?.withdraw(id);
  }

  forget(id: WorkerId): void {
    this.#attached.delete(id);
    this.#welcomes.delete(id);
  }

  #attach(id: WorkerId, kit = ''): boolean {
    const { sessionOf, warmProfileOf } = this.#options;
    if (sessionOf(id) === null && warmProfileOf(id) === null) return false;
    this.#attached.add(id);
    this.#options.attached(id, LAUNCHER_KITS.includes(kit) ? 'launcher' : 'code');
    // Because: the channel notes its connection after this call, and the welcome needs the connection.
    queueMicrotask(() => this.#sendWelcome(id));
    return true;
  }

  /** From now on only the job's own heartbeats count. The time until the first one begins now. */
  #sendWelcome(id: WorkerId): void {
    if (!this.#attached.has(id)) return;
    const welcome = this.#welcomes.get(id);
    if (welcome !== undefined) this.#options.channels.send(id, welcome);
    this.#listener?.message(id, { type: 'heartbeat' });
  }

  #received(id: WorkerId, message: WorkerMessage): void {
    // A LiveKit agent is ready when it has accepted LiveKit's job, so the kit's `ready` is ignored.
    if (message.type === 'ready' && this.#attached.has(id)) return;
    this.#listener?.message(id, message);
  }

  #isLiveKit(id: WorkerId): boolean {
    return this.#profileOf(id)?.protocol === 'livekit';
  }

  #accessOf(id: WorkerId): LiveKitAccess | null {
    const profile = this.#profileOf(id);
    return profile === null ? null : accessOf(profile);
  }

  #profileOf(id: WorkerId): Profile | null {
    const { sessionOf, warmProfileOf } = this.#options;
    return sessionOf(id)?.spec.profile ?? warmProfileOf(id);
  }

  #roomsOf(id: WorkerId): RoomKey[] {
    const session = this.#options.sessionOf(id);
    if (session === null || isEnded(session) || workerOf(session)?.id !== id) return [];
    const side = sideRoomOf(session.spec);
    return side === null ? [session.spec.room] : [session.spec.room, side];
  }
}
