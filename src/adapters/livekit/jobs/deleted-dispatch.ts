/** Whether LiveKit ended a job because its dispatch was deleted. It ends one just the same when the agent leaves the room or joins it anew. */
import { setTimeout as pause } from 'node:timers/promises';
import { AgentDispatchClient } from 'livekit-server-sdk';
import pTimeout from 'p-timeout';
import { JOBS } from '../../../lib/limits/livekit-limits.ts';
import type { LiveKitAccess } from './job-connection.ts';

/** Where a job came from, by LiveKit's names. */
export interface Dispatch {
  readonly id: string;
  readonly room: string;
}

/** null: LiveKit did not tell; also when the room is gone, which says nothing of the dispatch. */
export type IsDeleted = (dispatch: Dispatch) => Promise<boolean | null>;

/** Source: LiveKit's `ListDispatch`; a deleted one is gone from there before its job is ended. */
export function createIsDeleted({ url, apiKey, apiSecret }: LiveKitAccess): IsDeleted {
  const boundMs = JOBS.dispatchMs;
  const client = new AgentDispatchClient(url, apiKey, apiSecret, {
    requestTimeout: Math.ceil(boundMs / 1000),
    failover: false,
  });
  return async ({ id, room }) => {
    for (let attempt = 1; attempt <= JOBS.dispatchAttempts; attempt += 1) {
      if (attempt > 1) await pause(JOBS.dispatchAgainMs, undefined, { ref: false });
      const known = await pTimeout(client.listDispatch(room), { milliseconds: boundMs }).catch(() => null);
      if (known !== null) return !known.some((one) => one.id === id);
    }
    return null;
  };
}
