/** Where a sweep learns what should be running: from a supervisor's memory, or without one from its registry and folders. */
import type { SessionId, WorkerId } from '../../core/ids.ts';
import { isWarmId, sessionOfWorker } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded } from '../../core/model/session.ts';
import type { RegistryReader } from '../../ports/registry.ts';
import type { WorkerRecords } from '../../ports/worker-records.ts';
import type { SupervisorParts } from '../supervisor-parts.ts';

export interface CleanupSource {
  /** A supervisor lives that looks after the open sessions. */
  readonly supervised: boolean;
  /** What a person should know of this look: a registry that cannot be read. */
  readonly remarks: readonly string[];
  open(): Promise<Session[]>;
  /** Null: nothing explains the worker. */
  sessionOf(id: WorkerId): Promise<Session | null>;
  /** Of a worker that no session explains. */
  warmOf(id: WorkerId): Promise<'pooled' | 'stray' | null>;
  /** Lets the session look at its deadlines. */
  nudge(id: SessionId): void;
}

export function ownSessions({
  deps: { registry, records },
  sessions,
  pool,
  workerIndex,
}: Pick<SupervisorParts, 'deps' | 'sessions' | 'pool' | 'workerIndex'>): CleanupSource {
  return {
    supervised: true,
    remarks: [],
    open: async () => sessions.all().filter((one) => !isEnded(one)),
    sessionOf: (id) =>
      explain(id, records, async (session) => sessions.state(session) ?? (await registry.get(session))),
    warmOf: async (id) => (pool.has(id) || workerIndex.has(id) ? 'pooled' : strayIn(records, id)),
    nudge: (id) => sessions.post(id, { type: 'tick' }),
  };
}

/** By its id, or by its folder, which tells whose a warm one became and speaks alone where the registry is lost. */
async function explain(
  id: WorkerId,
  records: WorkerRecords,
  get: (session: SessionId) => Promise<Session | null>,
): Promise<Session | null> {
  const known = isWarmId(id) ? null : await get(sessionOfWorker(id));
  if (known !== null) return known;
  const recorded = (await records.read(id))?.session ?? null;
  return isWarmId(id) && recorded !== null ? ((await get(recorded.spec.id)) ?? recorded) : recorded;
}

async function strayIn(records: WorkerRecords, id: WorkerId): Promise<'stray' | null> {
  return isWarmId(id) && (await records.readWarm(id)) !== null ? 'stray' : null;
}

/** `reader` null, with the reason: then only the folders explain anything. */
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
    sessionOf: (id) => explain(id, records, async (session) => (await registry?.get(session)) ?? null),
    warmOf: (id) => strayIn(records, id),
    nudge: () => undefined,
  };
}
