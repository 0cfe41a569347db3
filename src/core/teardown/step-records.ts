/** The steps of a teardown as its evidence shows them. */
import type { Stamp } from '../ids.ts';
import type { Ladder, SessionIn, StepName, StepOutcome } from '../model/session.ts';
import { withPhase } from '../model/updates.ts';

type Closing = SessionIn<'closing'>;

/** How a step was left. */
export interface Left {
  readonly outcome: StepOutcome;
  readonly detail: string | null;
  readonly now: Stamp;
}

export function withLadder(session: Closing, change: Partial<Ladder>): Closing {
  const { phase } = session;
  return withPhase(session, { ...phase, ladder: { ...phase.ladder, ...change } });
}

export function beginRecord(session: Closing, step: StepName, now: Stamp): Closing {
  const record = { step, startedAt: now, tookMs: null, outcome: null, detail: null };
  return withLadder(session, { records: [...session.phase.ladder.records, record] });
}

export function finishRecord(session: Closing, step: StepName, { outcome, detail, now }: Left): Closing {
  const records = session.phase.ladder.records.map((record) =>
    record.step === step && record.outcome === null
      ? { ...record, tookMs: now.bootMs - record.startedAt.bootMs, outcome, detail }
      : record,
  );
  return withLadder(session, { records });
}
