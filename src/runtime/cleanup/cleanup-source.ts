/** Tells a cleanup which workers should run: from the supervisor's memory, or without a supervisor from the registry and the folders. */
import type { SessionId, WorkerId } from '../../core/ids.ts';
import { isWarmId, isZygoteId, sessionOfWorker } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded } from '../../core/model/session.ts';
import type { RegistryReader } from '../../ports/registry.ts';
import type { WorkerRecords } from '../../ports/worker-records.ts';
import type { SupervisorParts } from '../supervisor-parts.ts';

export interface CleanupSource {
  /** Whether a supervisor runs that supervises the open sessions. */
  readonly supervised: boolean;
  /** Remarks for the person at the command line, such as a registry that cannot be read. */
  readonly remarks: readonly string[];
  open(): Promise<Session[]>;
  /** null: no session explains the worker. */
  sessionOf(id: WorkerId): Promise<Session | null>;
  /** For a worker without a session. `pooled`: warm, or reserved. `stray`: warm, and no pool has it. null: not a warm worker. */
  warmOf(id: WorkerId): Promise<'pooled' | 'stray' | null>;
  /** Makes the session re-check its deadlines. */
  recheckDeadlines(id: SessionId): void;
}

export function ownSessions({
  deps: { registry, records },
  sessions,
  pool,
  zygotes,
  workerIndex,
}: Pick<SupervisorParts, 'deps' | 'sessions' | 'pool' | 'zygotes' | 'workerIndex'>): CleanupSource {
  return {
    supervised: true,
    remarks: [],
    open: async () => sessions.all().filter((one) => !isEnded(one)),
    sessionOf: (id) =>
      findSession(id, records, async (session) => sessions.state(session) ?? (await registry.get(session))),
    warmOf: async (id) =>
      pool.has(id) || zygotes.has(id) || workerIndex.has(id) ? 'pooled' : findStray(records, id),
    recheckDeadlines: (id) => sessions.post(id, { type: 'tick' }),
  };
}

/** Looks the worker up by session id. For warm workers, and when the registry is lost, uses the record in the worker's folder. */
async function findSession(
  id: WorkerId,
  records: WorkerRecords,
  get: (session: SessionId) => Promise<Session | null>,
): Promise<Session | null> {
  const known = isWarmId(id) ? null : await get(sessionOfWorker(id));
  if (known !== null) return known;
  const recorded = (await records.read(id))?.session ?? null;
  return isWarmId(id) && recorded !== null ? ((await get(recorded.spec.id)) ?? recorded) : recorded;
}

async function findStray(records: WorkerRecords, id: WorkerId): Promise<'stray' | null> {
  return (isWarmId(id) || isZygoteId(id)) && (await records.readWarm(id)) !== null ? 'stray' : null;
}

/** `unreadable`: why the registry cannot be read. Then only the folders explain the workers. */
export function recordedSessions(host: {
  readonly reader: RegistryReader | { readonly unreadable: string };
  readonly records: WorkerRecords;
  readonly supervised: boolean;
}): CleanupSource {
  const { reader, records, supervised } = host;
  const registry = 'unreadable' in reader ? null : reader;
  return {
    supervised,
    remarks: 'unreadable' in reader ? [reader.unreadable] : [],
    open: async () => registry?.open() ?? [],
    sessionOf: (id) => findSession(id, records, async (session) => (await registry?.get(session)) ?? null),
    warmOf: (id) => findStray(records, id),
    recheckDeadlines: () => undefined,
  };
}
