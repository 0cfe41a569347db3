/** The steps of a session in curfew's log, which has no words of the worker. The view of the session has them. */
import { expect, it } from 'vitest';
import { describeStep } from '../../src/runtime/sessions/session-log.ts';
import { sessionView } from '../../src/runtime/views/session-view.ts';
import { agent, at, gone, look, Play, participant, profile, says, WORKER } from '../core/support.ts';

it('a replaced worker is logged with its reason, and the next worker when it is started', () => {
  const play = Play.live({ profile: profile({ replace: true }) });
  const before = play.on(1000, look(1000, [agent, participant('ann')])).session;
  const replacing = play.on(2000, says({ type: 'failed', message: 'no voice' })).session;
  const why = { reason: 'crashed', cause: 'failed' };
  expect(sessionView(before, at(2000), 'host').replaced).toEqual([]);
  expect(sessionView(replacing, at(2000), 'host').replaced).toMatchObject([
    { worker: WORKER, ...why, detail: 'no voice' },
  ]);
  expect(describeStep(before, replacing)).toEqual({
    level: 'warn',
    fields: { session: 's1', worker: WORKER, ...why },
    message: 'the worker is replaced',
  });
  const replaced = play.on(2100, gone()).until(9000).session;
  expect(describeStep(replacing, replaced)).toMatchObject({
    fields: { worker: 's1.2', attempt: 2 },
    message: 'the next worker starts',
  });
});

it.each([
  ['task_completed', 'task_completed'],
  ['+4917012345', 'other'],
])('a closed AgentSession is logged with a reason of the framework, and never with words of the worker: %s', (reason, why) => {
  const play = Play.live({ profile: profile({ protocol: 'livekit' }) });
  const before = play.on(1000, says({ type: 'agent_session', open: 1 })).session;
  const after = play.on(2000, says({ type: 'agent_session', open: 0, closed: { reason } })).session;
  expect(describeStep(before, after)).toMatchObject({ fields: { why } });
});

const closes = (reason: string, second: 'stays' | 'leaves') => {
  const play = Play.live({ profile: profile({ protocol: 'livekit' }) });
  play.on(500, look(500, [agent, participant('ann'), participant('bob')]));
  const before = play.on(1000, says({ type: 'agent_session', open: 1 })).session;
  const closed = play.on(2000, says({ type: 'agent_session', open: 0, closed: { reason } })).session;
  const stale = play.on(2100, look(1900, [agent, participant('ann'), participant('bob')])).session;
  const people = second === 'stays' ? [participant('bob')] : [];
  const looked = play.on(3000, look(2900, [agent, ...people])).session;
  const again = play.on(4000, look(3900, [agent, ...people])).session;
  const steps = [before, closed, stale, looked, again];
  return steps.slice(1).map((after, index) => describeStep(steps[index] ?? before, after)?.level ?? null);
};

it('a hang-up closes the AgentSession without a warning, and a caller who stays without an answer is one warning', () => {
  expect(closes('participant_disconnected', 'leaves')).toEqual(['info', null, null, null]);
  expect(closes('participant_disconnected', 'stays')).toEqual(['info', null, 'warn', null]);
  expect(closes('user_initiated', 'stays')).toEqual(['warn', null, null, null]);
});
