/** Whether a zygote forks a worker or it starts cold, on a virtual clock: each way in which an order can be lost. */
import { describe, expect, it } from 'vitest';
import { forkOrCold } from '../../../src/adapters/worker/start/fork-race.ts';
import { ZYGOTE } from '../../../src/lib/limits/worker-limits.ts';

interface Child {
  readonly takesAtMs?: number;
  readonly claimsAtMs?: number;
}

/** `null` in `claimed`: the caller starts the worker cold. */
async function race(child: Child, isConnected = true) {
  const { takesAtMs = Number.POSITIVE_INFINITY, claimsAtMs = Number.POSITIVE_INFINITY } = child;
  let nowMs = 0;
  let order = false;
  let coldAtMs = Number.POSITIVE_INFINITY;
  const why: string[] = [];
  const claimed = await forkOrCold<'child' | 'cold'>({
    nowMs: () => nowMs,
    wait: async () => {
      nowMs += 100;
      if (nowMs >= takesAtMs) order = false;
    },
    putOrder: async () => {
      order = true;
    },
    takesBack: async () => order,
    send: () => isConnected,
    claim: async () =>
      nowMs < Math.min(claimsAtMs, coldAtMs) ? null : claimsAtMs <= coldAtMs ? 'child' : 'cold',
    failed: (reason) => why.push(reason),
    startCold: async () => {
      coldAtMs = nowMs + 200;
    },
  });
  return { claimed, why, tookMs: nowMs };
}

describe('a worker with a zygote', () => {
  it('is forked when the child of the zygote claims it', async () => {
    expect(await race({ takesAtMs: 100, claimsAtMs: 200 })).toMatchObject({ claimed: 'child', why: [] });
  });

  it('starts cold at once when the zygote is not connected', async () => {
    expect(await race({}, false)).toEqual({ claimed: null, why: ['it was not connected'], tookMs: 0 });
  });

  it('starts cold when no child takes the order within the bound', async () => {
    expect(await race({})).toMatchObject({ claimed: null, tookMs: ZYGOTE.forkMs });
  });

  it('is forked by a child that takes the order at the last moment', async () => {
    const claimsAtMs = ZYGOTE.forkMs + 500;
    expect(await race({ takesAtMs: ZYGOTE.forkMs, claimsAtMs })).toMatchObject({ claimed: 'child', why: [] });
  });

  it('starts cold when the child dies between order and claim', async () => {
    const { claimed, why } = await race({ takesAtMs: 100 });
    expect({ claimed, why }).toEqual({
      claimed: 'cold',
      why: ['its child took an order and did not become a worker'],
    });
  });

  it('is the one that has the claim, when the child goes on beside the cold start', async () => {
    const boundMs = ZYGOTE.forkMs + ZYGOTE.takenMs;
    expect(await race({ takesAtMs: 100, claimsAtMs: boundMs + 100 })).toMatchObject({ claimed: 'child' });
    expect(await race({ takesAtMs: 100, claimsAtMs: boundMs + 300 })).toMatchObject({ claimed: 'cold' });
  });
});
