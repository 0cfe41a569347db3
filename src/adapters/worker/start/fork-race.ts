/**
 * Whether a zygote forks a worker, or it starts cold. The order is the right to fork. The zygote's child takes it before it takes
 * the worker's claim. The supervisor takes it back before it starts the worker cold. Only one of them can.
 */
import { ZYGOTE } from '../../../lib/limits/worker-limits.ts';

export interface ForkSide<Claim> {
  nowMs(): number;
  /** Until the claim may be there. */
  wait(): Promise<void>;
  /** Puts the order where the zygote's child takes it. */
  putOrder(): Promise<void>;
  /** false: the child was faster. */
  takesBack(): Promise<boolean>;
  /** false: the zygote is not connected. */
  send(): boolean;
  /** null: the worker's claim is free. */
  claim(): Promise<Claim | null>;
  failed(why: string): void;
  /** Starts the worker cold, although a child of the zygote may still take its claim. */
  startCold(): Promise<void>;
}

/** `null`: the worker starts cold, or has started cold. `failed` was called with the reason. */
export async function forkOrCold<Claim>(side: ForkSide<Claim>): Promise<Claim | null> {
  await side.putOrder();
  if (!side.send()) {
    await side.takesBack();
    side.failed('it was not connected');
    return null;
  }
  const claim = await untilClaimed(side, ZYGOTE.forkMs);
  if (claim !== null) return claim;
  if (await side.takesBack()) {
    side.failed(`it did not fork a worker within ${ZYGOTE.forkMs} ms`);
    return null;
  }
  const late = await untilClaimed(side, ZYGOTE.takenMs);
  if (late !== null) return late;
  side.failed('its child took an order and did not become a worker');
  await side.startCold();
  // Race: the child may go on now. The one that takes the claim is the worker, and the other one ends.
  return untilClaimed(side, ZYGOTE.takenMs);
}

async function untilClaimed<Claim>(side: ForkSide<Claim>, boundMs: number): Promise<Claim | null> {
  const untilMs = side.nowMs() + boundMs;
  do {
    const found = await side.claim();
    if (found !== null) return found;
    await side.wait();
  } while (side.nowMs() < untilMs);
  return null;
}
