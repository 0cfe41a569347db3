/** An event that could not be handled: the session continues, and its deadlines with it. */
import { describe, expect, it } from 'vitest';
import type { Session } from '../../src/core/model/session.ts';
import { sessionOf } from '../support/sessions/session-writes.ts';
import { settled, WARM_PROFILE, WarmRig } from '../support/workers/warm-rig.ts';

const STEP_MS = 3000;

/** A session just before its start timeout. Looks at its limits fail as often as `faults` says. */
async function faulty() {
  const state = { faults: 0 };
  const profile = { ...WARM_PROFILE, warm: 0 };
  const limits = { ...profile.limits };
  const { maxDurationMs } = limits;
  Object.defineProperty(limits, 'maxDurationMs', {
    enumerable: true,
    get: () => {
      if (state.faults-- > 0) throw new Error('a fault in a rule');
      return maxDurationMs;
    },
  });
  const base = sessionOf({ id: 's-1' });
  const session = { ...base, spec: { ...base.spec, profile, limits, clientId: false } } as Session;
  const rig = await new WarmRig({ profile, recorded: [session] }).start();
  await settled();
  // In small steps, because a large one is a gap, which starts the deadline again.
  const { startTimeoutMs } = profile.limits;
  for (let atMs = 0; atMs < startTimeoutMs - STEP_MS; atMs += STEP_MS) await rig.advance(STEP_MS);
  return { rig, state, id: base.spec.id };
}

describe('a tick that fails', () => {
  it('comes again, so that the deadline of the session still acts', async () => {
    const { rig, state, id } = await faulty();
    expect(rig.sessions.state(id)?.phase.name).toBe('starting');
    state.faults = 1;
    await rig.advance(STEP_MS);
    expect(rig.warnings).toContain('an event of a session failed; the session continues without it');
    expect(rig.sessions.state(id)?.phase.name).toBe('starting');
    await rig.advance(1000);
    expect(rig.sessions.state(id)?.phase).toMatchObject({ ending: { reason: 'start_timeout' } });
  });

  it('comes again less and less often while it fails', async () => {
    const { rig, state, id } = await faulty();
    state.faults = 3;
    await rig.advance(STEP_MS);
    await rig.advance(1000);
    await rig.advance(1000);
    expect(state.faults).toBe(1);
    await rig.advance(1000);
    expect(state.faults).toBe(0);
    await rig.advance(4000);
    expect(rig.sessions.state(id)?.phase.name).not.toBe('starting');
  });
});
