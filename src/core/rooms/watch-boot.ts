/** The times of a watch on the clock of the present boot. A watch outlives its host's boot when LiveKit runs elsewhere. */
import type { Stamp } from '../ids.ts';
import { bootMsByWallClock } from '../ids.ts';
import type { RoomWatch } from './kept-room.ts';

/**
 * Boot times of another boot say nothing, so the wall clock converts them.
 * A watch without a boot id is of an older version. Its times stay unless they lie in the future.
 */
export function inThisBoot(
  watch: RoomWatch,
  { now, bootId }: { readonly now: Stamp; readonly bootId: string },
): RoomWatch {
  const { since, rejoin, aloneSinceMs } = watch;
  const isThisBoot = watch.bootId === undefined ? since.bootMs <= now.bootMs : watch.bootId === bootId;
  if (isThisBoot) return watch;
  const movedMs = bootMsByWallClock(since, now) - since.bootMs;
  return {
    ...watch,
    bootId,
    since: { ...since, bootMs: since.bootMs + movedMs },
    aloneSinceMs: aloneSinceMs === null ? null : aloneSinceMs + movedMs,
    ...(rejoin !== undefined && {
      rejoin: {
        endsAtMs: rejoin.endsAtMs + movedMs,
        begunMs: rejoin.begunMs.map((one) => one + movedMs),
        callerSinceMs: null,
      },
    }),
  };
}
