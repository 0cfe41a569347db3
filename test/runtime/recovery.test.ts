/** The recovery of sessions that waited without a worker. */
import { describe, expect, it } from 'vitest';
import type { Session } from '../../src/core/model/session.ts';
import { sessionOf } from '../support/sessions/session-writes.ts';
import { WarmRig } from '../support/workers/warm-rig.ts';

/** A queued session. Its creation time lies in the past on the clock of any boot. */
function queued(bootId?: string): Session {
  const base = sessionOf({ id: 's-1' });
  return bootId === undefined ? base : { ...base, spec: { ...base.spec, bootId } };
}

describe('a queued session at the start of a supervisor', () => {
  it.each([
    [
      'ends as node_lost when it is of another boot',
      'an earlier boot',
      { name: 'ended', ending: { reason: 'node_lost' } },
    ],
    ['starts when it is of this boot', 'boot', { name: 'live' }],
    // A record of an older version has only its creation time.
    ['starts when an older version recorded it and it can be of this boot', undefined, { name: 'live' }],
  ])('%s', async (_name, bootId, phase) => {
    const rig = await new WarmRig({ recorded: [queued(bootId)] }).start();
    const session = rig.sessions.state(queued().spec.id) ?? rig.saved.get(queued().spec.id);
    expect(session?.phase).toMatchObject(phase);
  });

  it('has recorded its boot since its dispatch', async () => {
    const rig = await new WarmRig().start();
    const { session } = await rig.dispatch('r');
    expect(session.spec.bootId).toBe('boot');
  });
});
