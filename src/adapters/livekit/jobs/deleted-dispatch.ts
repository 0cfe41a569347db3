/**
 * Finds out whether LiveKit ended a job because its dispatch was deleted.
 * LiveKit also ends a job when its agent leaves the room or rejoins it.
 */
import { setTimeout as pause } from 'node:timers/promises';
import pTimeout from 'p-timeout';
import type { LiveKitKeys } from '../../../core/model/profile.ts';
import { JOBS } from '../../../lib/limits/livekit-limits.ts';
import { createTwirp, listDispatches } from '../../../lib/twirp.ts';

/** The dispatch that a job came from, with LiveKit's id and room name. */
export interface Dispatch {
  readonly id: string;
  readonly room: string;
}

/** `null`: unknown, because LiveKit did not answer or the room is gone. */
export type IsDeleted = (dispatch: Dispatch) => Promise<boolean | null>;

/** Source: LiveKit's `ListDispatch`. LiveKit removes a deleted dispatch from that list before it ends the job. */
export function createIsDeleted(keys: LiveKitKeys): IsDeleted {
  const boundMs = JOBS.dispatchMs;
  const call = createTwirp(keys);
  return async ({ id, room }) => {
    for (let attempt = 1; attempt <= JOBS.dispatchAttempts; attempt += 1) {
      if (attempt > 1) await pause(JOBS.dispatchAgainMs, undefined, { ref: false });
      const asked = pTimeout(listDispatches(call, room, boundMs), { milliseconds: boundMs });
      const known = await asked.catch(() => null);
      if (known !== null) return !known.some((one) => one.id === id);
    }
    return null;
  };
}
