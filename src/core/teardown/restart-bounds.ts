/** After a gap the steps under way have their own bounds again, and no more. Because: a host that is suspended again and again must not stretch a teardown. */
import type { Stamp } from '../ids.ts';
import type { SessionIn } from '../model/session.ts';
import { stepBoundMs } from './process-track.ts';
import { withLadder } from './step-records.ts';
import { ROOM_STEPS, STEPS } from './steps.ts';

export function restartStepBounds(session: SessionIn<'closing'>, now: Stamp): SessionIn<'closing'> {
  const { process, room, records } = session.phase.ladder;
  const begun = records.findLast((record) => record.step === STEPS[process.step].recordedAs);
  // A wrap-up that was shortened stays short.
  const allowedMs =
    begun === undefined ? Number.POSITIVE_INFINITY : process.deadlineMs - begun.startedAt.bootMs;
  const boundMs = Math.min(stepBoundMs(session, process.step), allowedMs);
  return withLadder(session, {
    process: { ...process, deadlineMs: Math.max(process.deadlineMs, now.bootMs + boundMs) },
    room: { ...room, deadlineMs: Math.max(room.deadlineMs, now.bootMs + roomBoundMs(session)) },
  });
}

function roomBoundMs({ phase, spec }: SessionIn<'closing'>): number {
  const { step } = phase.ladder.room;
  return step === 'waiting' || step === 'over' ? 0 : ROOM_STEPS[step].boundMs(spec.profile.ladder);
}
