/** An agent that LiveKit removed and that comes back with its token does not stay in the room. */
import type { Sim } from '../sim.ts';
import { OUT_AGAIN_MS } from '../world/comebacks.ts';

export function checkComebacks({ world, comebacks, livekit, disk, serving, ledger }: Sim): void {
  const { nowMs } = world;
  const isTrouble =
    serving === null ||
    livekit.api !== 'ok' ||
    disk.state !== 'ok' ||
    nowMs < world.suspendedUntilMs('supervisor');
  for (const one of comebacks.all.values()) {
    if (isTrouble) one.troubleMs = nowMs;
    if (one.insideMs === null || world.isAgeUnknown) continue;
    const sinceMs = Math.max(one.insideMs, one.troubleMs, ledger.anewMs);
    if (nowMs - sinceMs > OUT_AGAIN_MS)
      world.fail(
        'every-wait-has-a-bound: a removed agent that comes back is removed again',
        `${one.identity} is in ${one.room} for ${Math.round(nowMs - one.insideMs)} ms`,
      );
  }
}
