/** New state and intent are durable before the effects; what cannot be recorded is not started. */

import type { SessionId } from '../../core/ids.ts';
import type { Effect } from '../../core/model/effects.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded, workerOf } from '../../core/model/session.ts';
import { toRecord } from '../../core/model/session-record.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Workers } from '../../ports/workers.ts';
import type { ChannelRouter } from '../workers/channel-router.ts';
import { reservedWorker } from '../workers/warm-handoff.ts';
import type { Step } from './mailbox.ts';
import type { Recorder } from './recorder.ts';
import { recordNeed } from './recorder.ts';

/** The effects that may be done now, and a record that may follow them. */
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

/** A teardown goes on without its record when that takes too long. */
export async function recordStep(
  host: CommitParts,
  { before, after, effects, now }: Step,
): Promise<Recorded> {
  const start = effects.find((effect) => isStart(effect, before));
  const { id } = after.spec;
  const current = () => host.sessions.state(id);
  if (start === undefined) {
    const need = recordNeed(before, after, now);
    // The promise of a warm worker was recorded: its assignment does not wait once more.
    const isPromised = effects.some((effect) => effect.do === 'assign') && reservedWorker(before) !== null;
    if (need === 'durable' && isPromised)
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
    // A warm worker runs already: nobody else may have it now.
    if (start.do === 'assign') host.workers.signal(start.workerId, 'SIGKILL');
    else host.sessions.post(id, { type: 'spawn_failed', workerId: start.workerId, detail });
    return { allowed: effects.filter((effect) => effect !== start) };
  }
}

/** A worker gets this session now, and no record says so yet; one that was kept for it is recorded with its promise. */
function isStart(effect: Effect, before: Session): effect is Extract<Effect, { do: 'spawn' | 'assign' }> {
  if (effect.do === 'spawn') return true;
  if (effect.do !== 'assign' || workerOf(before)?.id === effect.workerId) return false;
  return reservedWorker(before)?.id !== effect.workerId;
}

/** What a recovery without the database must know: the worker's folder follows each step of the session. */
export function recordInFolder(workers: Workers, { before, after, now }: Step): void {
  const worker = workerOf(after);
  if (worker === null || isEnded(after) || recordNeed(before, after, now) !== 'durable') return;
  workers.record(worker.id, { session: toRecord(after) });
}

/** A worker that another one has followed is gone with its tree. */
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
