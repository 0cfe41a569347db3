/** A LiveKit agent's answer to its job: the identity that it chooses, and its rejection. */
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import type { Acceptance } from '../../src/core/model/agent-answer.ts';
import { fromRecord, toRecord } from '../../src/core/model/session-record.ts';
import { agent, exited, gone, look, Play, PROCESS, participant, profile, WORKER } from './support.ts';

const job = { id: 'AJ_1', agentName: 'voice', metadata: '', attributes: {} };
const livekit = profile({ protocol: 'livekit' });
const reserved = { type: 'granted', startAtMs: 0, assignedByMs: 3000, workerId: WORKER } as const;
const asked = () => Play.starting({ job, profile: livekit, agentIdentity: 'agent-AJ_1', unasked: true });

function accepted(identity: string, isTaken = false) {
  const answer: Acceptance = {
    kind: 'accepted',
    identity,
    name: 'Ada',
    metadata: '',
    attributes: {},
    permissions: null,
    agentGrant: false,
  };
  return { type: 'answered', workerId: WORKER, answer, isTaken } as const;
}

const rejected = { ...accepted(''), answer: { kind: 'rejected', isFinal: true } } as const;

describe('the identity that an agent chooses', () => {
  it('is the identity of the session from then on, and survives a restart', () => {
    const play = asked().on(10, accepted('helper'));
    expect(play.did('admit')).toMatchObject([{ effect: { acceptance: { name: 'Ada' } } }]);
    expect(fromRecord(toRecord(play.session)).spec).toMatchObject({
      agentIdentity: 'helper',
      ownIdentity: 'agent-AJ_1',
    });
    const helper = participant('helper', { kind: 'agent' });
    expect(play.on(20, look(20, [helper])).session.presence.agentSeen).toBe(true);
  });

  it('is asked for again at a replacement, which may choose the same, another or none', () => {
    const replaced = (answer: ReturnType<typeof accepted>) => {
      const helper = participant('helper', { kind: 'agent' });
      const given = {
        job,
        profile: profile({ protocol: 'livekit', replace: true }),
        agentIdentity: 'agent-AJ_1',
      };
      return Play.starting({ ...given, unasked: true })
        .on(10, accepted('helper'))
        .on(20, { type: 'message', workerId: WORKER, message: { type: 'ready' } })
        .on(30, look(30, [helper, participant('ann')]))
        .on(1000, exited(null, 'SIGSEGV'))
        .on(1100, gone())
        .until(4000)
        .on(4010, { ...answer, workerId: workerId('s1.2') });
    };
    const same = replaced(accepted('helper'));
    expect(same.session.spec.agentIdentity).toBe('helper');
    expect(same.did('remove_agent')).toEqual([]);
    const other = replaced(accepted('deputy'));
    expect(other.session.spec).toMatchObject({ agentIdentity: 'deputy', ownIdentity: 'agent-AJ_1' });
    // The first agent can still be in the room, under an identity that the second one does not take over.
    expect(other.did('remove_agent')).toMatchObject([{ effect: { identity: 'helper' } }]);
    const none = replaced(accepted(''));
    expect(none.session.spec.agentIdentity).toBe('agent-AJ_1');
    expect(fromRecord(toRecord(none.session)).spec.agentIdentity).toBe('agent-AJ_1');
  });

  it.each([
    ['is empty', accepted('')],
    ["is the framework's default", accepted('agent-AJ_1')],
    ['is longer than LiveKit accepts', accepted('x'.repeat(10_240))],
    ['is longer in bytes than LiveKit accepts', accepted('\u{1F600}'.repeat(65))],
    ['belongs to the agent of another session in the room', accepted('helper', true)],
    ['belongs to a caller in the room', accepted('ann')],
  ])("that %s leaves the session's own identity, and the agent gets its room", (_what, event) => {
    const play = asked()
      .on(5, look(5, [participant('ann')]))
      .on(10, event);
    expect(play.session.spec.agentIdentity).toBe('agent-AJ_1');
    expect(play.did('admit')).toHaveLength(1);
  });

  it.each([
    ['leaves the choice to LiveKit', accepted(''), null],
    ["has the framework's default", accepted('agent-AJ_1'), null],
    ['may be used', accepted('helper'), null],
    ['is too long', accepted('x'.repeat(257)), 'LiveKit accepts at most 256 bytes'],
    ['another agent has', accepted('helper', true), 'the agent of another session in the room has it'],
    ['a caller has', accepted('ann'), 'a person in the room has it'],
  ])("that %s has a line in the worker's log if curfew does not use it", (_what, event, why) => {
    const play = asked()
      .on(5, look(5, [participant('ann')]))
      .on(10, event);
    const told = 'the agent joins with another identity than its acceptance chose: ';
    expect(play.did('admit')).toMatchObject([{ effect: { notes: why === null ? [] : [`${told}${why}`] } }]);
  });

  it('belongs to a caller who took it later, and the end of the session does not remove that caller', () => {
    const thief = participant('helper');
    const play = asked()
      .on(10, accepted('helper'))
      .on(20, { type: 'message', workerId: WORKER, message: { type: 'ready' } });
    play.on(30, look(30, [thief])).on(40, {
      type: 'exited',
      workerId: WORKER,
      exit: { code: 0, signal: null, at: { bootMs: 40, wallMs: 40 } },
    });
    expect(play.did('remove_agent')).toEqual([]);
    expect(play.session.presence.callersSeen).toBe(true);
  });
});

describe('an acceptance that LiveKit lets into no room', () => {
  const withParts = (parts: Partial<Acceptance>) => {
    const event = accepted('helper');
    return asked()
      .on(10, { ...event, answer: { ...event.answer, ...parts } })
      .did('admit');
  };

  it('by the size of its metadata loses the metadata, and says so', () => {
    expect(withParts({ metadata: 'm'.repeat(512 * 1024), attributes: { shift: 'night' } })).toMatchObject([
      { effect: { acceptance: { metadata: expect.stringMatching(/^m+$/) }, notes: [] } },
    ]);
    expect(withParts({ metadata: 'ä'.repeat(256 * 1024 + 1), attributes: { shift: 'night' } })).toMatchObject(
      [
        {
          effect: {
            acceptance: { name: 'Ada', metadata: '', attributes: { shift: 'night' } },
            notes: [
              'the agent joins without the metadata of its acceptance: LiveKit accepts at most 524288 bytes, and these have 524290',
            ],
          },
        },
      ],
    );
  });

  it('by the size of its attributes loses the attributes, and says so', () => {
    const most = { key: 'v'.repeat(64 * 1024 - 3) };
    expect(withParts({ attributes: most })).toMatchObject([{ effect: { acceptance: { attributes: most } } }]);
    expect(withParts({ attributes: { ...most, k: '' } })).toMatchObject([
      {
        effect: {
          acceptance: { attributes: {} },
          notes: [expect.stringMatching(/attributes .* 65536 bytes, and these have 65537$/)],
        },
      },
    ]);
  });
});

describe('the record of a job', () => {
  it("has LiveKit's message without the room's password, which its first worker still gets", () => {
    const room = { name: 'room', turnPassword: 'secret', metadata: 'menu' };
    const { session } = Play.starting({ job: { ...job, message: { dispatchId: 'AD_1', room } } });
    expect(session.spec.job?.message).toMatchObject({ room });
    const message = { dispatchId: 'AD_1', room: { name: 'room', metadata: 'menu' } };
    expect(toRecord(session).spec.job?.message).toEqual(message);
    expect(JSON.stringify(toRecord(session))).not.toContain('secret');
  });
});

describe('an agent that rejects its job', () => {
  it('ends the session at once as declined, and its phone is disconnected', () => {
    const play = asked().on(10, rejected);
    expect(play.ending).toMatchObject({ reason: 'declined', cause: 'declined' });
    expect(play.did('refuse_call')).toMatchObject([{ effect: { ownJob: 'AJ_1' } }]);
    expect(play.did('report_job')).toMatchObject([{ effect: { status: 'success' } }]);
  });

  it.each([
    ["LiveKit's dispatch", true, 'close', 'keep'],
    ["LiveKit's dispatch", true, 'auto', 'keep'],
    ['HTTP', false, 'close', 'close'],
    ['HTTP', false, 'keep', 'keep'],
    ['HTTP', false, 'auto', 'close'],
  ] as const)('by a dispatch of %s (%s) with room_on_end %s: the room of a phone is for %s', (_way, unasked, roomOnEnd, action) => {
    const phone = participant('bob', { kind: 'sip', sipCallStatus: 'active' });
    const given = { profile: profile({ protocol: 'livekit', roomOnEnd }), ...(unasked && { job, unasked }) };
    const play = Play.starting(given)
      .on(5, look(5, [phone]))
      .on(10, rejected)
      .on(20, gone())
      .on(30, { type: 'room_step', step: 'remove_agent', outcome: 'done', detail: null })
      .on(40, look(35, [phone]));
    const { phase } = play.session;
    expect(
      phase.name === 'closing' ? phase.ladder.roomEnd : 'roomEnd' in phase && phase.roomEnd,
    ).toMatchObject({
      action,
    });
    // After LiveKit's dispatch the phone is disconnected by on_refused, as on a full host.
    expect(play.did('refuse_call')).toHaveLength(unasked ? 1 : 0);
  });

  it('before LiveKit heard an answer starts nothing, and its worker stays warm', () => {
    const play = Play.queued({ job, profile: livekit })
      .on(0, { ...reserved, warm: PROCESS })
      .on(10, rejected);
    expect(play).toMatchObject({ phase: 'ended', reason: 'declined' });
    expect(play.did('signal')).toEqual([]);
    expect(play.did('assign')).toEqual([]);
  });

  it('has a record that 0.1.0 reads as completed', () => {
    const { session } = Play.queued({ job, profile: livekit })
      .on(0, { ...reserved, warm: PROCESS })
      .on(10, rejected);
    const record = toRecord(session);
    expect(record.phase).toMatchObject({ ending: { reason: 'completed', cause: 'declined' } });
    expect(fromRecord(record)).toEqual(session);
  });

  it('changes nothing once the worker is ready', () => {
    const play = Play.live({ job, profile: livekit }).on(10, look(10, [agent, participant('ann')]));
    expect(play.on(20, rejected).phase).toBe('live');
  });
});
