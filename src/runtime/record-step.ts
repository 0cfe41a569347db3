/** New state and intent are durable before the effects; what cannot be recorded is not started. */
import type { Effect } from '../core/effect.ts';
import type { SessionEvent } from '../core/event.ts';
import type { SessionId } from '../core/ids.ts';
import type { Session } from '../core/session.ts';
import { isEnded, workerOf } from '../core/session.ts';
import { messageOf } from '../errors.ts';
import type { Workers } from '../ports.ts';
import type { Recorder } from './recorder.ts';
import { recordNeed } from './recorder.ts';

export interface Step {
  readonly before: Session;
  readonly after: Session;
  readonly effects: readonly Effect[];
}

interface StepHost {
  readonly recorder: Recorder;
  state(id: SessionId): Session | null;
  post(id: SessionId, event: SessionEvent): void;
}

/** The effects that may be done now. A teardown goes on without its record when that takes too long. */
export async function recordStep(
  host: StepHost,
  { before, after, effects }: Step,
): Promise<readonly Effect[]> {
  const spawn = effects.find((effect) => effect.do === 'spawn');
  const { id } = after.spec;
  const current = () => host.state(id);
  if (spawn === undefined) {
    const need = recordNeed(before, after);
    if (need === 'durable') await host.recorder.saveStep(after, current);
    if (need === 'soon') host.recorder.saveSoon(id, current);
    return effects;
  }
  try {
    await host.recorder.saveDurably(after);
    return effects;
  } catch (error) {
    const detail = `the start could not be recorded: ${messageOf(error)}`;
    host.post(id, { type: 'spawn_failed', workerId: spawn.workerId, detail });
    return effects.filter((effect) => effect !== spawn);
  }
}

/** What a recovery without the database must know: the worker's folder follows each step of the session. */
export function recordBeside(workers: Workers, before: Session, after: Session): void {
  const worker = workerOf(after);
  if (worker === null || isEnded(after) || recordNeed(before, after) !== 'durable') return;
  workers.record(worker.id, { session: after });
}
