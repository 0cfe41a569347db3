/** Which logs of ended workers go first, as properties over any set of logs. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import type { EndedLog } from '../../src/core/workers/log-budget.ts';
import { planDrops } from '../../src/core/workers/log-budget.ts';

const SHARE = 0.25;
const TAIL = 10;

const anyLogs = fc
  .array(
    fc.record({
      agent: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
      endedAtMs: fc.nat(50),
      bytes: fc.nat(100),
      hasFailed: fc.boolean(),
    }),
    { maxLength: 40 },
  )
  .map((all) => all.map((one, index): EndedLog => ({ ...one, worker: workerId(`w${index}`) })));

function play(logs: readonly EndedLog[], limitBytes: number) {
  const drops = planDrops(logs, { limitBytes, tailBytes: TAIL, agentShare: SHARE });
  const kept = new Map(drops.map((one) => [one.worker, one.keepBytes]));
  const left = (one: EndedLog) => kept.get(one.worker) ?? one.bytes;
  const of = (agent: string) => logs.filter((one) => one.agent === agent);
  const sum = (all: readonly EndedLog[], bytes: (one: EndedLog) => number) =>
    all.reduce((total, one) => total + bytes(one), 0);
  return { drops, left, of, sum };
}

const check = (property: (logs: EndedLog[], limitBytes: number) => void) =>
  fc.assert(fc.property(anyLogs, fc.nat(1500), property), { numRuns: 2000 });

describe('the logs of ended workers', () => {
  it('stay as they are within the limit, and fit into it afterwards', () =>
    check((logs, limitBytes) => {
      const { drops, left, sum } = play(logs, limitBytes);
      expect(sum(logs, left)).toBeLessThanOrEqual(limitBytes);
      if (sum(logs, (one) => one.bytes) <= limitBytes) expect(drops).toEqual([]);
      for (const { keepBytes } of drops) expect([0, TAIL]).toContain(keepBytes);
    }));

  it('of an agent within its share stay while another agent has more than its share', () =>
    check((logs, limitBytes) => {
      const { left, of, sum } = play(logs, limitBytes);
      const agents = [...new Set(logs.map((one) => one.agent))];
      const share = limitBytes * SHARE;
      const hurt = agents.filter((agent) => sum(of(agent), left) < sum(of(agent), (one) => one.bytes));
      if (!hurt.some((agent) => sum(of(agent), (one) => one.bytes) <= share)) return;
      for (const agent of agents) expect(sum(of(agent), left)).toBeLessThanOrEqual(share);
    }));

  it('of the agent that holds most go first', () =>
    check((logs, limitBytes) => {
      const { left, of, sum } = play(logs, limitBytes);
      const agents = [...new Set(logs.map((one) => one.agent))];
      const had = (agent: string) => sum(of(agent), (one) => one.bytes);
      const has = (agent: string) => sum(of(agent), left);
      const hurt = agents.filter((agent) => has(agent) < had(agent));
      // While an agent is over its share, only agents with more than every other one lose logs.
      if (!agents.some((agent) => has(agent) > limitBytes * SHARE)) return;
      for (const one of hurt) for (const other of agents) expect(had(one)).toBeGreaterThanOrEqual(has(other));
    }));

  it('go oldest first, and the end of a failed session goes after all whole logs of its agent', () =>
    check((logs, limitBytes) => {
      const { left, of } = play(logs, limitBytes);
      for (const gone of logs.filter((one) => left(one) < one.bytes)) {
        const own = of(gone.agent).filter((one) => one.bytes > 0);
        for (const older of own.filter((one) => one.endedAtMs < gone.endedAtMs))
          expect(left(older)).toBeLessThanOrEqual(older.hasFailed ? TAIL : 0);
        if (gone.hasFailed && left(gone) === 0)
          for (const one of own) expect(left(one)).toBeLessThanOrEqual(one.hasFailed ? TAIL : 0);
      }
    }));

  it('of an agent that crashes again and again evict no log of another agent', () => {
    const quiet = ['b', 'c', 'd'].map((agent, index) => ({
      agent,
      worker: workerId(agent),
      endedAtMs: index,
      bytes: 200,
      hasFailed: false,
    }));
    let logs: EndedLog[] = quiet;
    for (let round = 10; round < 500; round += 1) {
      const crash = {
        agent: 'a',
        worker: workerId(`a${round}`),
        endedAtMs: round,
        bytes: 50,
        hasFailed: true,
      };
      const { left } = play([...logs, crash], 1000);
      logs = [...logs, crash].map((one) => ({ ...one, bytes: left(one) })).filter((one) => one.bytes > 0);
    }
    expect(logs.slice(0, 3)).toEqual(quiet);
    expect(logs.length).toBeGreaterThan(10);
  });
});
