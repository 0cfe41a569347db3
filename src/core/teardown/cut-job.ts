/** The evidence of a LiveKit agent whose job outlasts the bound of `aclose`: SIGTERM follows, and SIGKILL cuts what still runs. */
import type { Stamp } from '../ids.ts';
import type { SessionIn, StepName, StepOutcome, StepRecord } from '../model/session.ts';
import { withLadder } from './step-records.ts';

type Closing = SessionIn<'closing'>;

const IN_TIME = 'the job ended in this time';

/** The detail of a step that is left. null: its outcome says everything. */
export function detailOnLeave(
  session: Closing,
  { step, outcome, now }: { step: StepName; outcome: StepOutcome; now: Stamp },
): string | null {
  if (session.spec.profile.protocol !== 'livekit') return null;
  const record = session.phase.ladder.records.findLast((one) => one.step === step);
  if (record === undefined) return null;
  if (step === 'aclose') return outcome === 'timeout' ? stillRunning(session, record, now) : null;
  if (step !== 'term' || !isLate(session) || record.detail !== null) return record.detail;
  return outcome === 'timeout'
    ? 'the job was still running; its shutdown callbacks were cut'
    : 'the worker did not report the end of its job; its shutdown callbacks may have been cut';
}

function stillRunning({ spec, phase }: Closing, { startedAt }: StepRecord, now: Stamp): string {
  const { wrapUpMs, acloseMs } = spec.profile.ladder;
  const tookMs = now.bootMs - startedAt.bootMs;
  const isWrapUp = phase.ladder.wrapUp && wrapUpMs >= acloseMs && tookMs >= wrapUpMs;
  const bound = isWrapUp ? `wrap_up, ${wrapUpMs / 1000} s` : `ladder.aclose, ${acloseMs / 1000} s`;
  // A second release or the next session of the room cut the wrap-up. The shorter bound began then.
  const cut = phase.ladder.wrapUp && !isWrapUp ? ' from a later release or session of the room on' : '';
  return `the job was still running after ${Math.round(tookMs / 1000)} s (bound: ${bound}${cut})`;
}

/** The framework reports the end of its job after SIGTERM to its main process. Later the SIGTERM to the others may have ended the job. */
export function noteLateEnd(session: Closing): Closing {
  const { records, process } = session.phase.ladder;
  if (process.step !== 'term' || !isLate(session)) return session;
  const noted = records.map((one) =>
    one.step === 'term' && one.outcome === null ? { ...one, detail: IN_TIME } : one,
  );
  return withLadder(session, { records: noted });
}

function isLate({ spec, phase }: Closing): boolean {
  const asked = phase.ladder.records.find((one) => one.step === 'aclose');
  return spec.profile.protocol === 'livekit' && asked?.outcome === 'timeout';
}
