/** A job that raised an exception, a main process that ends before its job, and a signal from outside. */
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import type { SessionEvent } from '../../src/core/model/events.ts';
import { fromRecord, toRecord } from '../../src/core/model/session-record.ts';
import { agent, exited, gone, look, Play, PROCESS, participant, profile, says, WORKER } from './support.ts';

const livekit = { profile: profile({ protocol: 'livekit', replace: true }) };
const ann = participant('ann');
const raised = { type: 'failed', message: 'the entrypoint raised ValueError: no', raised: true } as const;
const inCall = (...others: Parameters<typeof look>[1]) =>
  Play.live(livekit).on(100, look(100, [ann, agent, ...others]));

describe('an exception', () => {
  it('is a crash with its text, and is replaced once', () => {
    const play = inCall()
      .on(1000, says(raised))
      .on(1050, look(1010, [ann, agent]))
      .on(1100, exited(0))
      .on(1200, gone())
      .until(3000);
    expect(play.session.replaced).toMatchObject([{ why: { cause: 'exception', detail: raised.message } }]);
    expect(play.did('spawn')).toHaveLength(2);
    const second = workerId('s1.2');
    play.on(4000, says(raised, second));
    expect(play).toMatchObject({ phase: 'closing', reason: 'crashed' });
    expect(play.ending?.detail).toBe(`${raised.message} (not replaced: it was replaced before)`);
  });

  it('keeps no token that its text quotes, not even the beginning of one', () => {
    const token = 'eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6eyJyb29tIjoiciJ9fQ.c2lnbmF0dXJl';
    for (const quoted of [token, token.slice(0, 40), token.slice(0, token.lastIndexOf('.'))]) {
      const message = `ConnectError: 401 - invalid token: ${quoted}`;
      const play = inCall()
        .on(1000, says({ ...raised, message }))
        .on(1050, look(1010, [ann, agent]))
        .on(1100, exited(0))
        .on(1200, gone());
      const hidden = 'ConnectError: 401 - invalid token: [token]';
      expect(play.session.errors.last).toBe(hidden);
      expect(play.until(3000).session.replaced).toMatchObject([{ why: { detail: hidden } }]);
    }
  });

  it('is replaced only after a snapshot that was asked for after it', () => {
    const play = inCall().on(1000, says(raised)).on(1100, exited(0)).on(1200, gone()).until(2500);
    expect(play.did('poll_room')).toHaveLength(2);
    expect(play.did('spawn')).toHaveLength(1);
    play.on(2600, look(1010, [ann, agent]));
    expect(play.until(2700).did('spawn')).toHaveLength(2);
  });

  it('is not replaced when that snapshot shows a phone that the job has dialled', () => {
    const phone = participant('sip', { kind: 'sip', sipCallStatus: 'dialing', outbound: true });
    const play = inCall()
      .on(1000, says(raised))
      .on(1200, look(1010, [ann, agent, phone]));
    expect(play).toMatchObject({ phase: 'closing', reason: 'crashed' });
    expect(play.ending?.detail).toBe(`${raised.message} (not replaced: the call was dialled out)`);
  });

  it('is not replaced when a phone comes into sight before the next worker starts', () => {
    const phone = participant('sip', { kind: 'sip', sipCallStatus: 'dialing', outbound: true });
    const play = inCall()
      .on(1000, says(raised))
      .on(1100, look(1010, [ann, agent]))
      .on(1200, look(1150, [ann, agent, phone]))
      .on(1300, exited(0))
      .on(1400, gone())
      .until(4000);
    expect(play.did('spawn')).toHaveLength(1);
    expect(play.ending?.detail).toContain('the call was dialled out');
  });

  it('is not replaced when the job itself has asked LiveKit to dial', () => {
    const play = inCall()
      .on(900, says({ type: 'dialled' }))
      .on(1000, says(raised));
    expect(play.ending?.detail).toContain('the call was dialled out');
  });

  it('is not replaced when no snapshot shows in time who is in the room', () => {
    const play = inCall().on(1000, says(raised)).on(1100, exited(0)).on(1200, gone()).until(7000);
    expect(play).toMatchObject({ reason: 'crashed' });
    expect(play.did('spawn')).toHaveLength(1);
  });

  it('is replaced without a snapshot while LiveKit does not answer', () => {
    const play = inCall()
      .on(500, { type: 'livekit', reachable: false })
      .on(1000, says(raised))
      .on(1100, exited(0))
      .on(1200, gone())
      .until(3000);
    expect(play.did('spawn')).toHaveLength(2);
  });

  it.each([
    ['warm', 1],
    ['cold', 2],
  ])('of a %s worker before `ready` was heard is a crash like any other, with time for its shutdown callbacks', (kind, spawns) => {
    const granted = { type: 'granted', startAtMs: 0, workerId: WORKER } as const;
    const play =
      kind === 'warm' ? Play.queued(livekit).on(0, { ...granted, warm: PROCESS }) : Play.starting(livekit);
    play
      .on(20, look(15, [ann, agent]))
      .on(1000, says(raised))
      .on(1050, look(1010, [ann, agent]));
    expect(play.did('signal')).toMatchObject([{ effect: { signal: 'SIGTERM' } }]);
    play.on(1100, exited(0)).on(1200, gone()).until(3000);
    expect(play.session.replaced).toMatchObject([{ why: { cause: 'exception', detail: raised.message } }]);
    expect(play.did('spawn')).toHaveLength(spawns);
  });

  it('is not replaced in a call that was dialled out', () => {
    const callee = participant('sip', { kind: 'sip', sipCallStatus: 'active', outbound: true });
    const play = inCall(callee).on(1000, says(raised));
    expect(play).toMatchObject({ phase: 'closing', reason: 'crashed' });
    expect(play.ending?.detail).toContain('the call was dialled out');
  });
});

describe('a crash in a call that was dialled out', () => {
  const failed = { type: 'agent_session', open: 0, closed: { reason: 'error', provider: 'llm' } } as const;
  const kinds: [string, SessionEvent][] = [
    ['an AgentSession that an error closed', says(failed)],
    ['a signal', exited(null, 'SIGSEGV')],
    ['a failed job', says({ type: 'failed', message: 'the job process ended with 139' })],
    ['a main process that ended early', exited(0)],
  ];
  it.each(kinds)('is not replaced: %s', (_kind, event) => {
    const play = inCall()
      .on(200, says({ type: 'dialled' }))
      .on(1000, event)
      .until(3000);
    expect(play).toMatchObject({ phase: 'closing', reason: 'crashed' });
    expect(play.ending?.detail).toContain('(not replaced: the call was dialled out)');
  });

  it('is replaced with replace: always, except after an exception', () => {
    const always = { profile: profile({ protocol: 'livekit', replace: true, replaceDialled: true }) };
    const play = () =>
      Play.live(always)
        .on(100, look(100, [ann, agent]))
        .on(200, says({ type: 'dialled' }));
    expect(play().on(1000, exited(null, 'SIGSEGV'))).toMatchObject({ phase: 'live' });
    expect(play().on(1000, says(raised))).toMatchObject({ phase: 'closing', reason: 'crashed' });
  });

  it('is not replaced after a restart either, because the record has the phone', () => {
    const play = inCall().on(200, says({ type: 'dialled' }));
    expect(fromRecord(JSON.parse(JSON.stringify(toRecord(play.session)))).dialled).toBe(true);
    const record = toRecord(inCall().session);
    expect('dialled' in record).toBe(false);
  });
});

describe('a worker that could not be given its room', () => {
  const event = {
    type: 'assign_failed',
    workerId: WORKER,
    detail: 'a worker could not get its room: no key',
  } as const;

  it('ends its session at once, with the cause in the evidence', () => {
    const play = Play.starting(livekit).on(1000, event);
    expect(play).toMatchObject({ reason: 'crashed', ending: { detail: event.detail } });
  });

  it('is replaced while a caller is there, and an older worker says nothing of the session', () => {
    expect(inCall().on(1000, event).session.replaced).toMatchObject([{ why: { detail: event.detail } }]);
    expect(inCall().on(1000, { ...event, workerId: workerId('s1.0') }).session.replaced).toBeUndefined();
  });
});

describe('a main process', () => {
  it('of a LiveKit agent that exits with 0 before the end of its job has crashed', () => {
    const play = inCall().on(1000, exited(0));
    expect(play.session.replaced).toMatchObject([
      { why: { reason: 'crashed', detail: 'the main process exited with code 0 before the end of its job' } },
    ]);
  });

  it('of a LiveKit agent that exits with 0 before it has its job has crashed', () => {
    expect(Play.starting(livekit).on(1000, exited(0))).toMatchObject({ reason: 'crashed' });
  });

  it('that exits with 0 after the report of the end has not crashed', () => {
    const play = inCall()
      .on(1000, says({ type: 'closed' }))
      .on(1001, exited(0));
    expect(play).toMatchObject({ reason: 'completed' });
  });

  it('of another protocol that exits with 0 has completed its call', () => {
    expect(Play.live().on(1000, exited(0))).toMatchObject({ reason: 'completed' });
  });

  it.each([
    ['SIGTERM', ''],
    ['SIGKILL', "; the kernel's OOM killer is one possible sender"],
  ])('that curfew did not signal has its %s from outside', (signal, sender) => {
    const play = Play.live().on(1000, exited(null, signal));
    expect(play.ending?.detail).toBe(`the worker was ended by ${signal}, which curfew did not send${sender}`);
  });

  it('that faults has no signal from outside', () => {
    const play = Play.live().on(1000, exited(null, 'SIGSEGV'));
    expect(play.ending?.detail).toBe('the worker was ended by SIGSEGV');
  });
});
