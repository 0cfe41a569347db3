/** Where a sweep learns what should be running: from a supervisor's memory, or without one from its registry and folders. */
import type { SessionId, WorkerId } from '../core/ids.ts';
import { sessionOfWorker } from '../core/ids.ts';
import type { Session } from '../core/session.ts';
import { isEnded } from '../core/session.ts';
import type { RegistryReader, WorkerRecords } from '../ports.ts';
import type { Sessions } from './sessions.ts';

export interface SweepSource {
  /** A supervisor lives that looks after the open sessions. */
  readonly supervised: boolean;
  /** What a person should know of this look: a registry that cannot be read. */
  readonly remarks: readonly string[];
  open(): Promise<Session[]>;
  /** Null: nothing explains the worker. */
  sessionOf(id: WorkerId): Promise<Session | null>;
  /** Lets the session look at its deadlines. */
  nudge(id: SessionId): void;
}

export function ownSessions(sessions: Sessions, records: WorkerRecords): SweepSource {
  const { registry } = sessions.deps;
  return {
    supervised: true,
    remarks: [],
    open: async () => sessions.all().filter((one) => !isEnded(one)),
    sessionOf: async (id) =>
      sessions.state(sessionOfWorker(id)) ??
      (await registry.get(sessionOfWorker(id))) ??
      (await records.read(id))?.session ??
      null,
    nudge: (id) => sessions.post(id, { type: 'tick' }),
  };
}

/** `reader` null, with the reason: then only the folders explain anything. */
export function recordedSessions(host: {
  readonly reader: RegistryReader | { readonly unreadable: string };
  readonly records: WorkerRecords;
  readonly supervised: boolean;
}): SweepSource {
  const { reader, records, supervised } = host;
  const registry = 'unreadable' in reader ? null : reader;
  return {
    supervised,
    remarks: 'unreadable' in reader ? [reader.unreadable] : [],
    open: async () => registry?.open() ?? [],
    sessionOf: async (id) =>
      (await registry?.get(sessionOfWorker(id))) ?? (await records.read(id))?.session ?? null,
    nudge: () => undefined,
  };
}
