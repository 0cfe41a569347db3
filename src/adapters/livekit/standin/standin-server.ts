/** The StandIn port: an unchanged LiveKit agent connects to curfew as if it were a LiveKit server, and gets its job. */
import type { WorkerId } from '../../../core/ids.ts';
import type { LiveKitKeys } from '../../../core/model/profile.ts';
import type { Instance } from '../../../ports/instance.ts';
import type { Log } from '../../../ports/log.ts';
import type { StandIn, StandInListener } from '../../../ports/stand-in.ts';
import { launchEnv, profileKeys, realKeys } from './agent-env.ts';
import { AgentHub } from './agent-hub.ts';
import type { ApiProxy } from './api-proxy.ts';
import { createProxy } from './api-proxy.ts';
import { BoundedNotes } from './bounded-notes.ts';
import { createJobFile } from './job-file.ts';
import { HOST, listenAt, rememberedPort } from './stable-port.ts';
import type { StandInHttp } from './standin-http.ts';
import { createStandInHttp } from './standin-http.ts';
import { keysFor } from './worker-keys.ts';

export interface StandInOptions {
  readonly instance: Instance;
  readonly log: Log;
  /** The real LiveKit server. */
  readonly livekit: LiveKitKeys;
  /** LiveKit as this agent sees it. null: as the supervisor sees it. Never in a record, because the database holds no secrets. */
  readonly livekitOf: (agent: string) => LiveKitKeys | null;
  /** The variables of a profile's `env_file`. */
  readonly readEnvFile: (path: string) => Promise<Readonly<Record<string, string>>>;
  /** 0: any free port at the first start, then always that one. */
  readonly port: number;
}

const JOIN_REFUSED =
  "curfew refused the join of a participant with a token of this agent, such as an avatar: set livekit_access: full in the agent's profile";

export function createStandIn(options: StandInOptions): StandIn {
  const { instance, log, port } = options;
  let open: { readonly hub: AgentHub; readonly http: StandInHttp; readonly proxy: ApiProxy } | null = null;
  let listensAt = port === 0 ? (rememberedPort(instance.stateDir) ?? 0) : port;
  return {
    get url() {
      return `ws://${HOST}:${listensAt}`;
    },
    listen: async (listener: StandInListener) => {
      const hub = new AgentHub({ log, jobFile: createJobFile(instance, log), listener });
      const notes = new BoundedNotes((id, line) => listener.note(id, line));
      const note = (id: WorkerId, line: string) => notes.add(id, line);
      const proxy = createProxy({
        ...options,
        roomsOf: (id) => listener.roomsOf(id),
        note,
        dialled: (id) => hub.dialled(id),
      });
      const joinRefused = (id: WorkerId) => note(id, JOIN_REFUSED);
      const http = createStandInHttp({ instance, hub, twirp: proxy.handle, joinRefused });
      listensAt = await listenAt(http.server, { stateDir: instance.stateDir, port });
      open = { hub, http, proxy };
    },
    keysFor: (id: WorkerId) => keysFor(instance, id),
    envFor: (id, profile, given) =>
      launchEnv(given, {
        url: `ws://${HOST}:${listensAt}`,
        ...keysFor(instance, id),
        real: realKeys(profile, given, options.livekitOf(profile.agent) ?? options.livekit),
      }),
    livekitFor: (profile) =>
      profileKeys(profile, { ...options, own: options.livekitOf(profile.agent), ours: options.livekit }),
    offer: (id, job) => open?.hub.offer(id, job) ?? false,
    admit: (id, access) => open?.hub.admit(id, access) ?? false,
    withdraw: (id) => open?.hub.withdraw(id),
    terminate: (id) => open?.hub.terminate(id) ?? false,
    close: async () => {
      open?.hub.close();
      await open?.http.close();
      await open?.proxy.close();
      open = null;
    },
  };
}
