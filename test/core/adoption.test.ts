/** Adoption: the case of each finding, and its outcome. */
import { describe, expect, it } from 'vitest';
import { allocationOf } from '../../src/core/admission/allocation.ts';
import { classify } from '../../src/core/adoption/adoption.ts';
import type { WorkerId } from '../../src/core/ids.ts';
import type { Found } from '../../src/core/model/events.ts';
import type { Session } from '../../src/core/model/session.ts';
import { at, exited, gone, Play, PROCESS, profile, release, WORKER } from './support.ts';

const present = (code: number | null = null): Found => ({
  kind: 'present',
  process: PROCESS,
  exit: code === null ? null : { code, signal: null, at: at(500) },
  isMute: false,
});
const ABSENT: Found = { kind: 'absent' };

const intended = () => Play.queued().on(0, { type: 'granted', startAtMs: 0, workerId: WORKER });
const reserved = () =>
  Play.queued().on(0, { type: 'granted', startAtMs: 5000, workerId: WORKER, warm: PROCESS });
/** Neither TERM nor KILL ends the worker, and the scan after KILL does not come back. */
const unkillable = () =>
  Play.live({ profile: profile({ protocol: 'none' }) })
    .on(1000, release)
    .until(60_000);

describe('a session that a supervisor takes over', () => {
  it.each<[string, Session, Found, string]>([
    ['and that waits in the queue', Play.queued().session, { kind: 'no_worker' }, 'between_workers'],
    ['whose promised warm worker lives', reserved().session, present(), 'reserved_alive'],
    ['whose promised warm worker is gone', reserved().session, ABSENT, 'reserved_gone'],
    ['whose worker was never started', intended().session, ABSENT, 'never_started'],
    ['whose worker runs', Play.live().session, present(), 'alive'],
    ['whose worker exited meanwhile', Play.live().session, present(0), 'exited'],
    ['whose worker could not be searched for', Play.live().session, { kind: 'not_searched' }, 'not_searched'],
    ['that closes and whose worker runs', Play.live().on(1000, release).session, present(), 'alive'],
    [
      'that closes and whose tree is gone',
      Play.live().on(1000, release).on(1001, gone()).session,
      { kind: 'no_worker' },
      'between_workers',
    ],
    ['that began before a reboot', Play.live().session, { kind: 'other_boot' }, 'host_lost'],
    ['that ended, with an unkillable worker alive', unkillable().session, present(), 'unkillable_alive'],
    ['that ended, with an unkillable worker gone', unkillable().session, ABSENT, 'unkillable_gone'],
    [
      'that ended, with an unkillable worker that could not be searched for',
      unkillable().session,
      { kind: 'not_searched' },
      'not_searched',
    ],
    [
      'that ended with an unkillable worker before a reboot',
      unkillable().session,
      { kind: 'other_boot' },
      'unkillable_gone',
    ],
  ])('%s is the case of its own', (_, session, found, expected) => {
    expect(classify(session, found)).toBe(expected);
  });

  it('asks LiveKit again for the room step under way, and never at a second search', () => {
    const removing = () => Play.live().on(1000, release).on(1001, exited(0));
    const asked = (retryOf: WorkerId | null) =>
      removing()
        .on(2000, { type: 'adopted', found: present(), retryOf })
        .did('remove_agent')
        .filter(({ atMs }) => atMs === 2000);
    expect(asked(null)).toHaveLength(1);
    expect(asked(WORKER)).toHaveLength(0);
  });

  it('ignores the late result of a repeated search when another worker has taken the call', () => {
    const play = intended()
      .on(100, { type: 'adopted', found: { kind: 'not_searched' }, retryOf: null })
      .on(200, { type: 'not_started', workerId: WORKER });
    const { session } = play;
    expect(session.phase).toMatchObject({ name: 'starting', worker: { attempt: 2 } });
    for (const found of [present(), present(0), ABSENT])
      expect(play.on(300, { type: 'adopted', found, retryOf: WORKER }).session).toBe(session);
  });

  it('ends by the true exit of its worker when that came before every deadline', () => {
    const play = Play.live().on(20_000, { type: 'adopted', found: present(3), retryOf: null });
    expect(play.session.phase).toMatchObject({ ending: { reason: 'crashed', cause: 'exit' } });
  });

  it('starts under another worker id when only the intent was recorded', () => {
    const play = intended().on(100, { type: 'adopted', found: ABSENT, retryOf: null });
    expect(play.session.phase).toMatchObject({ name: 'starting', worker: { attempt: 2 } });
  });

  it('keeps its claim and slots while the search for its unkillable worker fails', () => {
    const held = allocationOf(unkillable().session);
    expect(held).not.toBeNull();
    const play = unkillable().on(70_000, {
      type: 'adopted',
      found: { kind: 'not_searched' },
      retryOf: null,
    });
    expect(allocationOf(play.session)).toEqual(held);
  });

  it('kills an unkillable worker again, because only a signalled tree is watched', () => {
    const play = unkillable().on(70_000, { type: 'adopted', found: present(), retryOf: null });
    expect(play.did('signal').filter(({ atMs }) => atMs === 70_000)).toHaveLength(1);
  });
});
