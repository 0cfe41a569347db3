/** Any events in any order: no event throws, no ended session changes, and no session waits for ever. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Session } from '../../src/core/model/session.ts';
import { isEnded, publicState } from '../../src/core/model/session.ts';
import { newSession } from '../../src/core/model/updates.ts';
import { nextTickMs } from '../../src/core/session/deadlines.ts';
import { decide } from '../../src/core/session/decide.ts';
import { DEADLINES, DEFAULT_LADDER } from '../../src/lib/limits/session-limits.ts';
import { play, specs, story } from './stories.ts';
import { at, gone, release } from './support.ts';

const LADDER_MS =
  DEADLINES.spawnMs +
  DEADLINES.reapMs +
  DEADLINES.confirmMs +
  DEFAULT_LADDER.wrapUpMs +
  DEFAULT_LADDER.disconnectMs +
  DEFAULT_LADDER.termMs +
  DEFAULT_LADDER.killMs +
  DEFAULT_LADDER.removeAgentMs +
  DEFAULT_LADDER.closeRoomMs;

/** Lets time pass without an answer to any effect. */
function letTimePass(session: Session, fromMs: number, boundMs: number): Session {
  let state = session;
  let nowMs = fromMs;
  // Because: a `configure` that no worker acknowledges is due every 5 s until the end of the session.
  const most = 1000 + boundMs / 1000;
  for (let ticks = 0; ticks < most; ticks++) {
    const due = nextTickMs(state, nowMs);
    if (due === null || !Number.isFinite(due) || due > fromMs + boundMs) return state;
    nowMs = Math.max(nowMs + 1, due);
    state = decide(state, { type: 'tick' }, at(nowMs)).state;
  }
  throw new Error(`${most} ticks and no end of them`);
}

describe('any events in any order', () => {
  it('never throw, never change what has ended, and keep the first cause', () => {
    fc.assert(
      fc.property(specs, story, (one, steps) => {
        play(newSession(one, {}), steps, (before, after) => {
          if (isEnded(before)) {
            expect(publicState(after)).toBe(publicState(before));
            expect(after.phase).toMatchObject({ ending: (before.phase as { ending: unknown }).ending });
          }
          const [was, is] = [causeOf(before), causeOf(after)];
          if (was !== null) expect(is).toBe(was);
          if (after.phase.name === 'ended') expect(after.phase.ending.reason).toBeTruthy();
        });
      }),
      { numRuns: 2000 },
    );
  });

  it('decide the same after the state was stored as JSON', () => {
    fc.assert(
      fc.property(specs, story, (one, steps) => {
        play(newSession(one, {}), steps, (_before, after) => {
          expect(JSON.parse(JSON.stringify(after))).toEqual(after);
        });
      }),
      { numRuns: 500 },
    );
  });

  it('leave no teardown that outlives the sum of its bounds', () => {
    fc.assert(
      fc.property(specs, story, (one, steps) => {
        const { session, nowMs } = play(newSession(one, {}), steps, () => undefined);
        const asked = decide(session, release, at(nowMs)).state;
        expect(letTimePass(asked, nowMs, LADDER_MS).phase.name).toBe('ended');
      }),
      { numRuns: 1000 },
    );
  });

  it('leave no session that outlives its maximum duration and its teardown', () => {
    fc.assert(
      fc.property(specs, story, (one, steps) => {
        const { session, nowMs } = play(newSession(one, {}), steps, () => undefined);
        if (session.phase.name === 'queued' && session.phase.grant === null) return;
        const late = one.limits.maxDurationMs + 60_000;
        const asleep = letTimePass(
          decide(session, { type: 'tick' }, at(nowMs)).state,
          nowMs,
          late + LADDER_MS,
        );
        expect(asleep.phase.name).toBe('ended');
      }),
      { numRuns: 300 },
    );
  });

  it('end with the tree gone, whatever was there before', () => {
    fc.assert(
      fc.property(specs, story, (one, steps) => {
        const { session, nowMs } = play(newSession(one, {}), steps, () => undefined);
        const state = decide(
          letTimePass(decide(session, release, at(nowMs)).state, nowMs, LADDER_MS),
          gone(),
          at(nowMs + LADDER_MS),
        ).state;
        expect(isEnded(state)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

/** The first cause. An unkillable worker adds its own reason and keeps the cause. */
function causeOf({ phase }: Session): string | null {
  return phase.name === 'closing' || phase.name === 'ended' ? phase.ending.cause : null;
}
