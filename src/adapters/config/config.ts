/** The configuration as the program uses it: resolved, in milliseconds and bytes. */
import type { ApiToken } from '../../api/supervisor-api.ts';
import type { AdmissionLimits } from '../../core/admission/quotas.ts';
import type { LiveKitKeys, Profile } from '../../core/model/profile.ts';
import { CLEANUP } from '../../lib/limits/cleanup-limits.ts';
import { PRESENCE } from '../../lib/limits/room-limits.ts';
import { SHUTDOWN } from '../../lib/limits/service-limits.ts';
import { ADMISSION } from '../../lib/limits/session-limits.ts';
import { RETENTION } from '../../lib/limits/storage-limits.ts';
import { TEMP } from '../../lib/limits/temp-limits.ts';

export interface Config {
  readonly livekit: LiveKitKeys | null;
  readonly listen: {
    readonly socket: string;
    readonly http: { readonly host: string; readonly port: number } | null;
  };
  readonly stateDir: string;
  /** The workers' temporary folders are below it. */
  readonly tempDir: string;
  /** The log names a worker with more bytes of temporary files. */
  readonly tempMaxBytes: number;
  readonly limits: AdmissionLimits;
  readonly agents: Readonly<Record<string, Profile>>;
  /** LiveKit as an agent sees it, by the agent's name. An agent without it sees LiveKit as the supervisor does. */
  readonly agentLiveKit: Readonly<Record<string, LiveKitKeys>>;
  /** LiveKit agents whose profile does not name `livekit_access`. */
  readonly unnamedAccess: readonly string[];
  /** `auto`: one per worker, where the supervisor may create them. */
  readonly cgroups: 'auto' | 'off';
  readonly presence: { readonly pollEveryMs: number };
  readonly shutdown: {
    readonly timeoutMs: number;
    /** The effect of SIGTERM on the calls if systemd did not start the supervisor. */
    readonly onTerm: 'release' | 'drain' | 'leave';
  };
  readonly retention: {
    readonly sessionsMs: number;
    readonly logsMs: number;
    /** Logs of ended workers, all together. */
    readonly logsTotalBytes: number;
  };
  readonly sweep: {
    /** Patterns of commands that may be agents without curfew. Cleanup shows them and never ends them on its own. */
    readonly unmanaged: readonly string[];
    /** Cleanup ends no process that is younger. */
    readonly graceMs: number;
  };
  readonly log: {
    readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
    readonly format: 'json' | 'text';
  };
  /** Where the lines of workers go, besides their log files. `null`: stdout in a container, elsewhere off. */
  readonly logs: { readonly forward: 'off' | 'stdout' | 'journald' | null };
  readonly api: { readonly tokens: readonly ApiToken[] };
}

/** The defaults of a config. `curfew run` and `curfew dev` start from them. */
export const DEFAULT_CONFIG: Config = {
  livekit: null,
  listen: { socket: '/run/curfew/curfew.sock', http: { host: '127.0.0.1', port: 7890 } },
  stateDir: '/var/lib/curfew',
  tempDir: TEMP.dir,
  tempMaxBytes: TEMP.maxBytes,
  limits: {
    sessions: ADMISSION.sessions,
    perUser: ADMISSION.perUser,
    perAgent: {},
    cpu: ADMISSION.cpu,
    memoryFree: ADMISSION.memoryFree,
    startRatePerSecond: ADMISSION.startRatePerSecond,
    queue: ADMISSION.queue,
    queueTimeoutMs: ADMISSION.queueTimeoutMs,
  },
  agents: {},
  agentLiveKit: {},
  unnamedAccess: [],
  cgroups: 'auto',
  presence: { pollEveryMs: PRESENCE.pollEveryMs },
  shutdown: { timeoutMs: SHUTDOWN.boundMs, onTerm: 'release' },
  retention: {
    sessionsMs: RETENTION.sessionsMs,
    logsMs: RETENTION.logsMs,
    logsTotalBytes: RETENTION.logsTotalBytes,
  },
  sweep: { unmanaged: [], graceMs: CLEANUP.graceMs },
  log: { level: 'info', format: 'json' },
  logs: { forward: null },
  api: { tokens: [] },
};

/** Without `temp_dir`: the TMPDIR of the supervisor, unless it is too long for the sockets of programs. */
export function tempDirOf({ TMPDIR }: Readonly<Record<string, string | undefined>>): string {
  const isFit = TMPDIR?.startsWith('/') === true && Buffer.byteLength(TMPDIR) <= TEMP.dirBytes;
  return isFit ? TMPDIR.replace(/(?<=.)\/+$/, '') : TEMP.dir;
}

/** `null`: the config has no such agent. */
export function profileOf(config: Config, agent: string): Profile | null {
  return Object.hasOwn(config.agents, agent) ? (config.agents[agent] ?? null) : null;
}

/** `null`: the config has no LiveKit of this agent's own. */
export function livekitOf({ agentLiveKit }: Config, agent: string): LiveKitKeys | null {
  return Object.hasOwn(agentLiveKit, agent) ? (agentLiveKit[agent] ?? null) : null;
}
