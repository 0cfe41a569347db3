/** The start of a session: its first worker is spawned, or the reserved warm one gets its room. */
import type { Stamp } from '../ids.ts';
import type { PhaseOf, SessionIn, Worker } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { newWorker, stay, withPhase, withVitals } from '../model/updates.ts';

type Queued = SessionIn<'queued'>;

export function start(session: Queued, now: Stamp): Next {
  const { grant } = session.phase;
  if (grant === null) return stay(session);
  const { worker, effects } = firstWorker(session, grant, now);
  const begun = worker.warm === true ? { ...session, warmWorker: worker.id } : session;
  const started = withPhase(begun, { name: 'starting', startedAt: now, worker });
  if (!session.spec.livekit) return stay(started, effects);
  // The first poll shows whether the room was there before the session.
  return stay(withVitals(started, { pollAskedMs: now.bootMs }), [...effects, { do: 'poll_room' }]);
}

/** A warm worker runs already and only needs its room. */
function firstWorker(
  session: Queued,
  { workerId: id, warm }: NonNullable<PhaseOf<'queued'>['grant']>,
  now: Stamp,
): { worker: Worker; effects: Next['effects'] } {
  const worker = newWorker(session, { id, attempt: 1, now });
  if (warm == null) return { worker, effects: [{ do: 'spawn', workerId: id, attempt: 1 }] };
  return {
    worker: { ...worker, process: warm, channel: 'open', warm: true },
    effects: [{ do: 'assign', workerId: id }],
  };
}
