/** A small SupervisorApi in memory. It keeps sessions, starts nothing, and fails for the rooms `full` and `broken`. */
import type { CapacityView } from '../../../src/api/host-schemas.ts';
import type { DispatchRequest, ReleaseMany, SessionView } from '../../../src/api/session-schemas.ts';
import type { SupervisorApi } from '../../../src/api/supervisor-api.ts';
import type { Actor } from '../../../src/core/model/session.ts';
import { CurfewError } from '../../../src/lib/errors.ts';

const AT = '2026-01-02T03:04:05.000Z';

export interface MemoryApi extends SupervisorApi {
  readonly sessions: Map<string, SessionView>;
  /** The requests with their actors, in order. */
  readonly requests: { readonly what: string; readonly by: Actor | null; readonly with: unknown }[];
  isReady: boolean;
  /** The log files of each session. */
  readonly logs: string[];
}

export function viewOf(request: Partial<DispatchRequest> & { readonly id: string }): SessionView {
  return {
    id: request.id,
    room: request.room ?? 'room',
    agent: request.agent ?? 'default',
    user: request.user ?? null,
    host: 'host-1',
    state: 'live',
    reason: null,
    createdAt: AT,
    startedAt: AT,
    liveAt: AT,
    endedAt: null,
    durationMs: 61_000,
    pid: 4711,
    restarts: 0,
    replaced: [],
    exit: null,
    errors: { consecutive: 0, limit: 5, total: 0 },
    presence: { callers: 1, ringing: 0, agents: 1, asOf: AT, source: 'poll' },
    deadlines: [{ kind: 'max_duration', at: AT, inMs: 7_000_000 }],
    finishing: false,
    rejoinOf: null,
    metadata: request.metadata ?? {},
    labels: request.labels ?? {},
    resources: null,
    evidence: null,
    held: null,
  };
}

export function endedView(session: SessionView, detail: string | null = null): SessionView {
  const evidence = { cause: 'release', at: AT, by: 'token ops', detail, ladder: [], room: null };
  return { ...session, state: 'released', reason: 'requested', endedAt: AT, deadlines: [], evidence };
}

function capacityView(sessions: ReadonlyMap<string, SessionView>): CapacityView {
  return {
    host: 'host-1',
    accepting: true,
    draining: null,
    quotas: [{ name: 'sessions', limit: 50, used: sessions.size, holders: [...sessions.keys()] }],
    queue: { length: 0, limit: 100, sessions: [] },
    load: {
      cpuPercent: 12,
      cpuLimitPercent: 80,
      memoryFreePercent: 61,
      memoryFreeLimitPercent: 10,
      over: [],
    },
    sessions: { queued: 0, starting: 0, live: sessions.size, closing: 0, released: 0, failed: 0 },
    unkillable: [],
    held: [],
    livekit: { configured: true, reachable: true, since: AT, error: null },
    jobs: [],
    warm: [],
    zygotes: [],
    removedAgents: null,
    forwarding: null,
    registry: { writable: true, error: null, setAside: null },
  };
}

export function memoryApi(): MemoryApi {
  const sessions = new Map<string, SessionView>();
  const requests: MemoryApi['requests'] = [];
  const find = (id: string): SessionView => {
    const session = sessions.get(id);
    if (session === undefined) throw new CurfewError('not_found', `there is no session "${id}"`, { id });
    return session;
  };
  const put = (session: SessionView): SessionView => {
    sessions.set(session.id, session);
    return session;
  };
  const note = (what: string, by: Actor | null, value: unknown) => requests.push({ what, by, with: value });
  const api: MemoryApi = {
    sessions,
    requests,
    isReady: true,
    logs: [],
    dispatch: async (request, by) => {
      note('dispatch', by, request);
      refuseFull(request);
      const known = sessions.get(request.id ?? '');
      if (known !== undefined) return { session: known, created: false };
      return {
        session: put(viewOf({ ...request, id: request.id ?? `s-${sessions.size + 1}` })),
        created: true,
      };
    },
    get: async (id) => find(id),
    list: async (query) => {
      note('list', null, query);
      return { sessions: [...sessions.values()].slice(0, query.limit), nextCursor: null };
    },
    release: async (id, by, detail) => {
      note('release', by, detail);
      return put(endedView(find(id), detail));
    },
    releaseMany: async (request, by) => {
      note('releaseMany', by, request);
      return chosen(sessions, request).map((one) => (request.dryRun ? one : put(endedView(one))));
    },
    keepAlive: async (id, forMs, by) => {
      note('keepAlive', by, forMs);
      return find(id);
    },
    setMetadata: async (id, metadata, by) => {
      note('setMetadata', by, metadata);
      return put({ ...find(id), metadata });
    },
    wait: async (id) => find(id),
    agentMetrics: async () => '',
    logPaths: async (id) => {
      find(id);
      return api.logs;
    },
    cleanup: async (request, by) => {
      note('cleanup', by, request);
      return {
        dryRun: request.dryRun,
        plan: 'abc123',
        verdicts: [],
        appeared: [],
        remarks: [],
        scanned: 0,
        tookMs: 1,
      };
    },
    capacity: () => capacityView(sessions),
    ready: () => {
      const { accepting, livekit, registry } = capacityView(sessions);
      return { ready: api.isReady, accepting, livekit, registry };
    },
    drain: async (timeoutMs, by) => {
      note('drain', by, timeoutMs);
      return { ...capacityView(sessions), accepting: false };
    },
    undrain: async (by) => {
      note('undrain', by, null);
      return capacityView(sessions);
    },
    reload: async (by) => {
      note('reload', by, null);
      return { changed: ['agents.default'], restartNeeded: ['listen'] };
    },
    webhook: async (rawBody, authorization) => {
      note('webhook', null, { rawBody, authorization });
      if (authorization === undefined) throw new CurfewError('bad_signature', 'there is no signature');
    },
    sessionToken: async (id) => `token-of-${find(id).id}`,
    sessionOfToken: (token) => {
      const [, id = null] = /^token-of-(.+)$/.exec(token) ?? [];
      return id;
    },
  };
  return api;
}

function refuseFull({ room }: DispatchRequest): void {
  if (room === 'full')
    throw new CurfewError('at_capacity', 'the limit "sessions" of 50 is reached', {
      limit: 50,
      used: 50,
      retryAfterSeconds: 5,
    });
  if (room === 'broken') throw new Error('a secret that only the log may know');
}

function chosen(sessions: ReadonlyMap<string, SessionView>, { filter, all }: ReleaseMany): SessionView[] {
  const { room, agent, user } = filter;
  if (!all && Object.keys(filter).length === 0)
    throw new CurfewError('invalid_request', 'all: must be true to release with an empty filter');
  return [...sessions.values()].filter(
    (one) =>
      (room === undefined || one.room === room) &&
      (agent === undefined || one.agent === agent) &&
      (user === undefined || one.user === user),
  );
}
