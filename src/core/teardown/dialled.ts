/** A phone that was dialled out. The next worker runs the same code and would dial the same number again. */
import type { Ending, Session } from '../model/session.ts';

const DIALLED = 'the call was dialled out';

/** The job has dialled a phone, or a snapshot shows one that was dialled from this side. */
export function wasDialled({ dialled, presence }: Pick<Session, 'dialled' | 'presence'>): boolean {
  return dialled === true || presence.outboundSeen === true;
}

/** The ending of a crash that is not replaced, because the call was dialled out; null: another worker may take the call. */
export function dialledEnding(session: Session, ending: Ending): Ending | null {
  const mayDialAgain = session.spec.profile.replaceDialled === true && ending.cause !== 'exception';
  return wasDialled(session) && !mayDialAgain ? notReplaced(ending, DIALLED) : null;
}

export function notReplaced(ending: Ending, why: string): Ending {
  const reason = `not replaced: ${why}`;
  return { ...ending, detail: ending.detail === null ? reason : `${ending.detail} (${reason})` };
}
