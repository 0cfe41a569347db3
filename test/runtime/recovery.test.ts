/** Sessions of before that have no worker to ask. */
import { describe, expect, it } from 'vitest';
import type { Session } from '../../src/core/model/session.ts';
import { sessionOf } from '../support/sessions/session-writes.ts';
import { WarmRig } from '../support/workers/warm-rig.ts';

/** Created in what is the past by any boot's clock. */
function queued(bootId?: string): Session {
  const base = sessionOf({ id: 's-1' });
  return bootId === undefined ? base : { ...base, spec: { ...base.spec, bootId } };
}

describe('a session that waits without a worker', () => {
  it.each([
    [
      'of another boot ends with its host',
      'the boot before',
      { name: 'ended', ending: { reason: 'node_lost' } },
    ],
    ['of this boot starts after all', 'boot', { name: 'live' }],
    // Its creation is all that a record of an older version has.
    ['of an older version starts, if it may be of this boot', undefined, { name: 'live' }],
  ])('%s', async (_name, bootId, phase) => {
    const rig = await new WarmRig({ recorded: [queued(bootId)] }).start();
    const session = rig.sessions.state(queued().spec.id) ?? rig.saved.get(queued().spec.id);
    expect(session?.phase).toMatchObject(phase);
  });

  it('knows its boot from its dispatch on', async () => {
    const rig = await new WarmRig().start();
    const { session } = await rig.dispatch('r');
    expect(session.spec.bootId).toBe('boot');
  });
});
