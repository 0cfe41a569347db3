/** The log files of a session's workers, or of one worker, such as a warm worker that never had a session. */
import type { WorkerId } from '../../core/ids.ts';
import { firstWorkerId, readWorkerId, workerIdOf } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import { workerOf } from '../../core/model/session.ts';
import { CurfewError } from '../../lib/errors.ts';
import type { WorkerRecords } from '../../ports/worker-records.ts';
import type { Workers } from '../../ports/workers.ts';

interface LogPathParts {
  /** Finds the session. Rejects not_found. */
  readonly find: () => Promise<Session>;
  readonly workers: Workers;
  readonly records: WorkerRecords;
}

/** Oldest first. An id that names both a session and a worker means the session. Rejects not_found. */
export async function logPathsOf(id: string, { find, workers, records }: LogPathParts): Promise<string[]> {
  try {
    return workersOf(await find()).map((one) => workers.logPath(one));
  } catch (error) {
    const worker = readWorkerId(id);
    if (worker === null || !(error instanceof CurfewError) || error.code !== 'not_found') throw error;
    if (((await records.read(worker)) ?? (await records.readWarm(worker))) === null) throw error;
    return [workers.logPath(worker)];
  }
}

function workersOf(session: Session): WorkerId[] {
  const { restarts, spec, phase, warmWorker, warmLater = [] } = session;
  if (phase.name === 'queued' || (phase.name === 'ended' && session.startedAt === null)) return [];
  const last = Math.max(restarts + 1, workerOf(session)?.attempt ?? 1);
  const warmOf = (attempt: number) => warmLater.find((one) => one.attempt === attempt)?.worker;
  const idOf = (attempt: number) => warmOf(attempt) ?? workerIdOf(spec.id, attempt);
  const later = Array.from({ length: last - 1 }, (_, index) => idOf(index + 2));
  return [warmWorker ?? firstWorkerId(spec.id), ...later];
}
