/** What a worker is told when it connects, and connects again. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import { PROTOCOL_VERSION } from '../model/control-protocol.ts';
import type { Effect } from '../model/effects.ts';
import type { Session } from '../model/session.ts';
import { workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, stay, tell } from '../model/updates.ts';

export function greet<S extends Session>(session: S, now: Stamp): Next<S> {
  return andThen(stay(session, [...welcome(session), ...assign(session)]), (next) =>
    sendConfigure(next, now),
  );
}

/** A LiveKit agent registers first and is given its job then, a warm worker is given its room; one that has it already says so by itself. */
function assign(session: Session): Effect[] {
  const worker = workerOf(session);
  const { phase, spec } = session;
  if (worker === null || worker.readyByMs === null) return [];
  if (spec.profile.protocol !== 'livekit' && worker.warm !== true) return [];
  if (phase.name !== 'starting' && phase.name !== 'live') return [];
  return [{ do: 'assign', workerId: worker.id }];
}

function welcome(session: Session): Effect[] {
  const worker = workerOf(session);
  if (worker === null) return [];
  const { spec, config } = session;
  const job = {
    session: spec.id,
    room: spec.room.name,
    attempt: worker.attempt,
    metadata: { ...config.metadata },
  };
  // One that is late must not look like one that is missing.
  const heartbeatMs = Math.min(DEADLINES.heartbeatEveryMs, spec.profile.heartbeatStaleMs / 3);
  return tell(worker, {
    type: 'welcome',
    v: PROTOCOL_VERSION,
    heartbeatMs: Math.round(heartbeatMs),
    job,
  });
}

/** New metadata, again and again until it is acknowledged. */
export function sendConfigure<S extends Session>(session: S, now: Stamp): Next<S> {
  const { config } = session;
  const worker = workerOf(session);
  if (config.ackedRev >= config.rev || worker?.channel !== 'open') return stay(session);
  const sent = { ...session, config: { ...config, sentMs: now.bootMs } };
  return stay(sent, tell(worker, { type: 'configure', rev: config.rev, metadata: { ...config.metadata } }));
}
