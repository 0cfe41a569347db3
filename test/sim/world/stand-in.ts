/** The StandIn port of one supervisor, for simulated LiveKit agents. An agent accepts or rejects its job. */
import type { WorkerId } from '../../../src/core/ids.ts';
import type { AgentAccess, StandIn, StandInJob, StandInListener } from '../../../src/ports/stand-in.ts';
import type { Connection, MessageWatch } from './channels.ts';
import { SimChannels } from './channels.ts';
import type { Life } from './life.ts';
import type { World } from './world.ts';

const ACCEPTED = {
  kind: 'accepted',
  identity: '',
  name: '',
  metadata: '',
  attributes: {},
  permissions: null,
  agentGrant: false,
} as const;

export interface OfferWatch {
  /** curfew offers the job of this session to the agent. */
  offered(worker: WorkerId, session: string): void;
  /** The supervisor hears that the agent rejected the job. */
  heard(worker: WorkerId, session: string, isFinal: boolean): void;
}

export class SimStandIn implements StandIn {
  readonly url = 'ws://stand-in';
  /** The connections of the agents. */
  readonly wire: SimChannels;
  readonly #watch: OfferWatch;
  #listener: StandInListener | null = null;
  /** The session of each worker's offered job. */
  readonly #offers = new Map<WorkerId, string>();

  constructor(world: World, life: Life, watch: { messages: MessageWatch; offers: OfferWatch }) {
    this.wire = new SimChannels(world, life, watch.messages);
    this.#watch = watch.offers;
  }

  listen(listener: StandInListener): Promise<void> {
    this.#listener = listener;
    return this.wire.listen(listener);
  }

  keysFor(workerId: WorkerId): { apiKey: string; apiSecret: string } {
    return { apiKey: workerId, apiSecret: 'secret' };
  }

  envFor(): Record<string, string> {
    return {};
  }

  livekitFor(): Promise<null> {
    return Promise.resolve(null);
  }

  offer(workerId: WorkerId, { attributes }: StandInJob): boolean {
    const session = attributes['curfew.session'] ?? '';
    this.#offers.set(workerId, session);
    this.#watch.offered(workerId, session);
    return this.wire.tell(workerId, 'is offered its job', (peer) => peer.offered());
  }

  admit(workerId: WorkerId, { token }: AgentAccess): boolean {
    return this.wire.tell(workerId, 'gets its room', (peer) =>
      peer.admitted(token, this.#offers.get(workerId) ?? ''),
    );
  }

  withdraw(workerId: WorkerId): void {
    this.#offers.delete(workerId);
  }

  terminate(workerId: WorkerId): boolean {
    return this.wire.tell(workerId, 'is asked to end its job', (peer) => peer.terminated());
  }

  /** The agent accepts the offered job. */
  accept(connection: Connection): void {
    const id = connection.peer.workerId;
    this.wire.deliver(connection, `${id} accepts its job`, () => {
      if (this.#offers.has(id)) this.#listener?.answered(id, ACCEPTED);
    });
  }

  /** The agent rejects the offered job. */
  reject(connection: Connection, isFinal: boolean): void {
    const id = connection.peer.workerId;
    this.wire.deliver(connection, `${id} rejects its job`, () => {
      const session = this.#offers.get(id);
      if (session === undefined) return;
      this.#offers.delete(id);
      this.#watch.heard(id, session, isFinal);
      this.#listener?.answered(id, { kind: 'rejected', isFinal });
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
