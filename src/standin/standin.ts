/** The StandIn port: towards an unchanged LiveKit agent, curfew is the LiveKit server that hands it its job. */
import type { WorkerId } from '../core/ids.ts';
import type { Instance, Log, StandIn, StandInListener } from '../ports.ts';
import type { Door } from './door.ts';
import { createDoor } from './door.ts';
import { Hub } from './hub.ts';
import { createJobMemory } from './job-memory.ts';
import { keysFor } from './keys.ts';
import { launchEnv } from './launch.ts';
import { HOST, listenAt, rememberedPort } from './port.ts';
import type { ApiProxy } from './proxy.ts';
import { createProxy } from './proxy.ts';

export interface StandInOptions {
  readonly instance: Instance;
  readonly log: Log;
  /** The real one. */
  readonly livekit: { readonly url: string; readonly apiKey: string; readonly apiSecret: string };
  /** The supervisor's own, of which a profile may pass names on. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** 0: any at the first start, then always that one. */
  readonly port: number;
}

export function createStandIn(options: StandInOptions): StandIn {
  const { instance, log, port, environment } = options;
  let open: { readonly hub: Hub; readonly door: Door; readonly proxy: ApiProxy } | null = null;
  let listensAt = port === 0 ? (rememberedPort(instance.stateDir) ?? 0) : port;
  return {
    get url() {
      return `ws://${HOST}:${listensAt}`;
    },
    listen: async (listener: StandInListener) => {
      const hub = new Hub({ log, memory: createJobMemory(instance, log), listener });
      const proxy = createProxy({ ...options, roomsOf: (id) => listener.roomsOf(id) });
      const door = createDoor({ instance, hub, twirp: proxy.handle });
      listensAt = await listenAt(door.server, { stateDir: instance.stateDir, port });
      open = { hub, door, proxy };
    },
    keysFor: (id: WorkerId) => keysFor(instance, id),
    envFor: (id, { env, passEnv }) => {
      const passed = passEnv.map((name) => [name, environment[name]] as const);
      const has = { ...env, ...Object.fromEntries(passed.filter(([, value]) => value !== undefined)) };
      return launchEnv(has, { url: `ws://${HOST}:${listensAt}`, ...keysFor(instance, id) });
    },
    assign: (id, job) => open?.hub.assign(id, job) ?? false,
    terminate: (id) => open?.hub.terminate(id) ?? false,
    close: async () => {
      open?.hub.close();
      await open?.door.close();
      await open?.proxy.close();
      open = null;
    },
  };
}
