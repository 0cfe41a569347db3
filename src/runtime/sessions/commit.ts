/** New state and the intent to start are durable before the effects. A start that cannot be recorded does not happen. */

import type { SessionId } from '../../core/ids.ts';
import type { Effect } from '../../core/model/effects.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded, reservedWorker, workerOf } from '../../core/model/session.ts';
import { toRecord } from '../../core/model/session-record.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Workers } from '../../ports/workers.ts';
import type { ChannelRouter } from '../workers/channel-router.ts';
import type { Transition } from './mailbox.ts';
import type { Recorder } from './recorder.ts';
import { recordNeed } from './recorder.ts';

/** The effects that may start now, and a record that may follow them. */
export interface Recorded {
  readonly allowed: readonly Effect[];
  readonly record?: () => void;
}

interface CommitParts {
  readonly recorder: Recorder;
  readonly workers: Workers;
  readonly sessions: {
    state(id: SessionId): Session | null;
    post(id: SessionId, event: SessionEvent): void;
  };
}

/** Records the step. A teardown continues without its record when the record takes too long. */
export async function recordStep(
  host: CommitParts,
  { before, after, effects, now }: Transition,
): Promise<Recorded> {
  const start = effects.find((effect) => isStart(effect, before));
  const { id } = after.spec;
  const current = () => host.sessions.state(id);
  if (start === undefined) {
    const need = recordNeed(before, after, now);
    // The reservation of the warm worker is on record, so its assignment does not wait for another record.
    const isReserved = effects.some((effect) => effect.do === 'assign') && reservedWorker(before) !== null;
    if (need === 'durable' && isReserved)
      return { allowed: effects, record: () => void host.recorder.saveStep(after, current) };
    if (need === 'durable') await host.recorder.saveStep(after, current);
    if (need === 'soon') host.recorder.saveSoon(id, current);
    return { allowed: effects };
  }
  try {
    await host.recorder.saveDurably(after);
    return { allowed: effects };
  } catch (error) {
    const detail = `the start could not be recorded: ${messageOf(error)}`;
    // A warm worker runs already, and no other session may get it now.
    if (start.do === 'assign') host.workers.signal(start.workerId, 'SIGKILL');
    else {
      const { workerId } = start;
      host.sessions.post(id, { type: 'spawn_failed', workerId, detail, isUnrecorded: true });
    }
    return { allowed: effects.filter((effect) => effect !== start) };
  }
}

/** The effect gives this session to a worker, and no record says so yet. A reserved warm worker is on record with its reservation. */
function isStart(effect: Effect, before: Session): effect is Extract<Effect, { do: 'spawn' | 'assign' }> {
  if (effect.do === 'spawn') return true;
  if (effect.do !== 'assign' || workerOf(before)?.id === effect.workerId) return false;
  return reservedWorker(before)?.id !== effect.workerId;
}

/** Writes the session into its worker's folder after each durable step, for a recovery without the database. */
export function recordInFolder(workers: Workers, { before, after, now }: Transition): void {
  const worker = workerOf(after);
  if (worker === null || isEnded(after) || recordNeed(before, after, now) !== 'durable') return;
  workers.record(worker.id, { session: toRecord(after) });
}

/** When another worker has followed, the tree of the replaced worker is gone. */
export function forgetReplacedWorker(
  { workers, channels }: { workers: Workers; channels: ChannelRouter },
  before: Session,
  after: Session,
): void {
  const worker = workerOf(before);
  if (worker === null || worker.id === workerOf(after)?.id) return;
  workers.forget(worker.id);
  channels.forget(worker.id);
}
