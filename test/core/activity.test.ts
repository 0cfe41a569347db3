/** The use of a session: activity, tools alone, and a LiveKit agent that curfew's launcher attached. */
import { describe, expect, it } from 'vitest';
import type { ClosedAgentSession } from '../../src/core/model/control-protocol.ts';
import type { AutoAttach } from '../../src/core/model/profile.ts';
import type { SessionIn } from '../../src/core/model/session.ts';
import { endingOf } from '../../src/core/model/updates.ts';
import type { Participant } from '../../src/core/rooms/presence.ts';
import { decide } from '../../src/core/session/decide.ts';
import { failAgentSession } from '../../src/core/session/replacing.ts';
import { DEFAULT_SESSION_LIMITS } from '../../src/lib/limits/session-limits.ts';
import { agent, at, gone, look, Play, participant, profile, says, spec, WORKER } from './support.ts';

const MINUTE_MS = 60_000;
const ann = participant('ann', { audioTracks: 0 });
const auto: AutoAttach = { heartbeatStaleMs: 60_000, armsIdle: false };

/** A live LiveKit agent with a caller without audio, attached at 1 s. */
function attached(by: 'launcher' | 'code', autoAttach: AutoAttach = auto): Play {
  const limits = { ...DEFAULT_SESSION_LIMITS, noActiveStreamMs: MINUTE_MS };
  return Play.live({ profile: profile({ protocol: 'livekit', autoAttach, replace: true }), limits })
    .on(1000, look(1000, [agent, ann]))
    .on(1000, { type: 'attached', workerId: WORKER, by });
}

const session = (open: number, closed?: ClosedAgentSession) =>
  says({ type: 'agent_session', open, ...(closed && { closed }) });
const tool = says({ type: 'activity', kind: 'task' });
const speech = says({ type: 'activity', kind: 'caller_speech' });

/** Polls the room each second, with these participants in it. */
function polled(play: Play, untilMs: number, who: readonly Participant[]): Play {
  for (let atMs = play.nowMs + 1000; atMs <= untilMs; atMs += 1000) {
    play.on(atMs, look(atMs, who));
  }
  return play;
}

describe('activity of a caller without audio', () => {
  it('keeps the session, and silence for the whole time ends it', () => {
    const play = polled(attached('launcher').on(50_000, speech), 109_000, [agent, ann]);
    expect(play.phase).toBe('live');
    expect(polled(play, 112_000, [agent, ann]).reason).toBe('no_active_stream');
  });

  it.each([
    ['a worker', says({ type: 'activity', kind: 'keep_alive', forMs: 10 * MINUTE_MS })],
    ['the API', { type: 'keep_alive', forMs: 10 * MINUTE_MS, by: { kind: 'token', name: 'ops' } } as const],
  ])('does not shorten a silence of 10 minutes that %s allows', (_who, keepAlive) => {
    const play = polled(attached('launcher').on(2000, keepAlive).on(3000, speech), 9 * MINUTE_MS, [
      agent,
      ann,
    ]);
    expect([play.phase, play.session.vitals.activityMs]).toEqual(['live', 2000 + 10 * MINUTE_MS]);
    expect(polled(play, 664_000, [agent, ann]).reason).toBe('no_active_stream');
  });

  it('counts for a tool, and for tools alone only 10 minutes', () => {
    const play = attached('code').on(2000, speech);
    for (let atMs = 10_000; play.phase === 'live' && atMs < 30 * MINUTE_MS; atMs += 5000)
      play.on(atMs, tool).on(atMs, look(atMs, [agent, ann]));
    expect(play.ending).toMatchObject({ reason: 'no_active_stream' });
    expect(play.ending?.at.bootMs).toBeGreaterThanOrEqual(11 * MINUTE_MS);
    expect(play.ending?.at.bootMs).toBeLessThan(12 * MINUTE_MS);
  });

  /** A tool that runs from `fromMs` on, as the kit reports it. */
  const withTool = (play: Play, { fromMs, untilMs }: { fromMs: number; untilMs: number }) => {
    for (let atMs = fromMs; play.phase === 'live' && atMs < untilMs; atMs += 5000)
      play.on(atMs, tool).on(atMs, look(atMs, [agent, ann]));
    return play;
  };

  it('counts for a tool 10 minutes from its own begin, however long nobody spoke before it', () => {
    const limits = { ...DEFAULT_SESSION_LIMITS, noActiveStreamMs: 15 * MINUTE_MS };
    const typed = Play.live({ profile: profile({ protocol: 'livekit', autoAttach: auto }), limits })
      .on(1000, look(1000, [agent, ann]))
      .on(1000, { type: 'attached', workerId: WORKER, by: 'launcher' })
      .on(2000, speech);
    withTool(typed, { fromMs: 10.5 * MINUTE_MS, untilMs: 60 * MINUTE_MS });
    expect(typed.ending).toMatchObject({ reason: 'no_active_stream' });
    expect(typed.ending?.at.bootMs).toBeGreaterThanOrEqual(35 * MINUTE_MS);
    expect(typed.ending?.at.bootMs).toBeLessThan(36 * MINUTE_MS);
  });

  it('counts for a tool 10 minutes from a suspend of the host, in which the tool could not run', () => {
    const play = withTool(attached('code').on(2000, speech), { fromMs: 3000, untilMs: 30_000 });
    const backMs = 60 * MINUTE_MS;
    play.nowMs = backMs;
    // The supervisor puts the gap before each tick.
    play.session = decide(play.session, { type: 'gap', gapMs: 59 * MINUTE_MS }, at(backMs)).state;
    withTool(play, { fromMs: backMs + 1000, untilMs: backMs + 60 * MINUTE_MS });
    expect(play.ending).toMatchObject({ reason: 'no_active_stream' });
    expect(play.ending?.at.bootMs).toBeGreaterThan(backMs + 10 * MINUTE_MS);
    expect(play.ending?.at.bootMs).toBeLessThan(backMs + 12 * MINUTE_MS);
  });

  it.each([
    ['a worker', says({ type: 'activity', kind: 'keep_alive', forMs: 15 * MINUTE_MS })],
    ['the API', { type: 'keep_alive', forMs: 15 * MINUTE_MS, by: { kind: 'token', name: 'ops' } } as const],
  ])('counts for a tool that begins at the end of a silence that %s allows', (_who, keepAlive) => {
    const limits = { ...DEFAULT_SESSION_LIMITS, activityIdleTimeoutMs: 30_000 };
    const play = Play.live({ limits, idleAsked: true })
      .on(1000, look(1000, [agent, ann]))
      .on(2000, speech)
      .on(2000, keepAlive);
    const [fromMs, untilMs] = [890_000, 935_000];
    expect(withTool(play, { fromMs, untilMs }).until(940_000).phase).toBe('live');
    expect(withTool(play, { fromMs: 940_000, untilMs: 60 * MINUTE_MS }).reason).toBe('idle_timeout');
  });
});

describe('a LiveKit agent that the launcher attached', () => {
  const talking = participant('ann');

  it('goes on when nobody speaks for 10 minutes, unless the profile sets an idle timeout', () => {
    const play = polled(attached('launcher').on(2000, speech), 10 * MINUTE_MS, [agent, talking]);
    expect(play.phase).toBe('live');
    const strict = attached('launcher', { ...auto, armsIdle: true }).on(2000, speech);
    expect(polled(strict, 125_000, [agent, talking]).reason).toBe('idle_timeout');
    const own = attached('code').on(2000, speech);
    expect(polled(own, 125_000, [agent, talking]).reason).toBe('idle_timeout');
  });

  it('goes on while its loop is blocked for 45 s, and is unresponsive after 60 s', () => {
    const blocked = (by: 'launcher' | 'code') =>
      attached(by)
        .on(10_000, says({ type: 'heartbeat' }))
        .silent()
        .on(15_000, look(15_000, [agent, talking]));
    const play = blocked('launcher').on(16_000, says({ type: 'loop_blocked', forMs: 5000 }));
    expect([play.until(55_000).phase, play.session.vitals.loopBlockedMs]).toEqual(['live', 16_000]);
    expect(play.until(69_000).did('tell').at(-1)?.effect).not.toMatchObject({ message: { type: 'dump' } });
    expect(play.until(70_000).did('tell').at(-1)?.effect).toMatchObject({ message: { type: 'dump' } });
    expect(blocked('code').until(40_000).did('tell').at(-1)?.effect).toMatchObject({
      message: { type: 'dump' },
    });
  });
});

describe('a blocked loop', () => {
  it('is found although the kit reports its running tool from another thread', () => {
    const play = attached('code')
      .on(10_000, says({ type: 'heartbeat' }))
      .silent();
    for (let atMs = 11_000; atMs < 40_000; atMs += 1000) play.on(atMs, tool);
    expect(play.until(40_000).did('tell').at(-1)?.effect).toMatchObject({ message: { type: 'dump' } });
  });
});

describe('an AgentSession that closed', () => {
  const error = { reason: 'error', provider: 'made-up.LLM', message: 'APIStatusError: 401' };
  const failing = () => attached('launcher').on(2000, session(1)).on(18_000, session(0, error)).until(20_000);

  it('by an error is a crash with the error of the provider, and counts as one error', () => {
    const play = failing();
    expect(play.session.replaced).toMatchObject([
      {
        why: { reason: 'crashed', cause: 'agent_session_failed', detail: 'made-up.LLM: APIStatusError: 401' },
      },
    ]);
    expect(play.session.errors).toMatchObject({ consecutive: 0, total: 1 });
  });

  it('by an error counts as none in a row, and never as less, where nothing is replaced', () => {
    const play = Play.live({ profile: profile({ protocol: 'livekit', autoAttach: auto, replace: false }) })
      .on(1000, look(1000, [agent, participant('ann')]))
      .on(2000, session(1))
      .on(20_000, session(0, error))
      .until(22_000);
    expect([play.reason, play.session.errors.consecutive]).toEqual(['crashed', 0]);
  });

  it('by an error ends no long call whose failures lie far apart', () => {
    const now = { bootMs: 200 * MINUTE_MS, wallMs: 0 };
    const old = (minutesAgo: number) => ({
      worker: WORKER,
      why: endingOf(
        'crashed',
        { bootMs: (200 - minutesAgo) * MINUTE_MS, wallMs: 0 },
        { cause: 'agent_session_failed' },
      ),
    });
    const failAfter = (minutesAgo: readonly number[]) => {
      const replaced = minutesAgo.map(old);
      const session = { ...attached('launcher').session, replaced } as SessionIn<'live'>;
      return failAgentSession(session, error, now).state;
    };
    expect(failAfter([100, 80, 60, 40, 20])).toMatchObject({
      phase: { name: 'live' },
      errors: { consecutive: 0 },
    });
    // Crashes that came one soon after the other are in a row.
    expect(failAfter([20, 3, 2.5, 2, 1.5])).toMatchObject({ errors: { consecutive: 0 } });
    expect(failAfter([20, 1.5, 1, 0.5])).toMatchObject({ errors: { consecutive: 3 } });
  });

  it.each([
    [null, 50_000, 'made-up.LLM', 'crashed'],
    [26_000, 50_000, 'made-up.LLM', 'crashed'],
    [26_000, 50_000, 'made-up.TTS', null],
    [26_000, 120_000, 'made-up.LLM', null],
    // A start of more than a minute, as on a loaded host, changes nothing.
    [100_000, 120_000, 'made-up.LLM', 'crashed'],
    [null, 120_000, 'made-up.LLM', 'crashed'],
  ])('that opened at %s ms, again at %i ms by an error of %s, ends the session: %s', (openMs, atMs, provider, reason) => {
    const play = failing().on(21_000, gone()).until(25_000);
    const id = play.worker?.id;
    if (id === undefined) throw new Error('no other worker');
    play.on(25_000, {
      type: 'spawned',
      workerId: id,
      process: { main: null, shim: { bootId: 'b', pid: 20, startTicks: 3 } },
    });
    play.on(25_000, { type: 'channel', workerId: id, open: true }).on(25_000, says({ type: 'ready' }, id));
    for (let nextMs = 26_000; nextMs < atMs - 2000; nextMs += 1000) {
      play.on(nextMs, look(nextMs, [agent, participant('ann')]));
      if (nextMs === openMs) play.on(nextMs, says({ type: 'agent_session', open: 1 }, id));
    }
    play
      .on(atMs - 2000, says({ type: 'agent_session', open: 0, closed: { ...error, provider } }, id))
      .until(atMs);
    expect(play.reason).toBe(reason);
    expect(play.session.replaced).toHaveLength(reason === null ? 2 : 1);
  });

  it.each([
    ['replaces the worker', true, [agent, participant('ann')], 'live', null],
    ['ends the session where nobody is there', false, [agent], 'closing', 'crashed'],
  ])('by an error before the supervisor heard `ready` %s', (_what, replace, who, phase, reason) => {
    // The supervisor died before it recorded the live session, and the launcher connects first to the next one.
    const play = Play.starting({ profile: profile({ protocol: 'livekit', autoAttach: auto, replace }) })
      .on(1000, look(1000, who))
      .on(1000, { type: 'attached', workerId: WORKER, by: 'launcher' })
      .on(2000, session(0, error))
      .on(2100, says({ type: 'ready' }))
      .until(4100);
    expect([play.phase, play.reason]).toEqual([phase, reason]);
    if (replace) expect(play.session.replaced).toMatchObject([{ why: { cause: 'agent_session_failed' } }]);
  });

  it('by an error ends nothing where the agent opens another one in time, and its errors do not count', () => {
    const play = attached('launcher')
      .on(2000, session(1))
      .on(10_000, says({ type: 'error', message: '401', source: 'llm' }))
      .on(10_100, session(0, error))
      .on(12_000, session(1))
      .until(30_000);
    expect([play.phase, play.session.replaced, play.session.errors.consecutive]).toEqual([
      'live',
      undefined,
      0,
    ]);
    // The other one has no other time than the first.
    play.on(31_000, session(0, error)).until(33_000);
    expect(play.session.replaced).toMatchObject([{ why: { cause: 'agent_session_failed' } }]);
  });

  it.each([
    ['ended', says({ type: 'closed' })],
    ['raised', says({ type: 'failed', message: 'the entrypoint raised', raised: true })],
  ])('by an error is the crash also where its job has %s meanwhile', (_what, end) => {
    const play = attached('launcher').on(2000, session(1)).on(20_000, session(0, error)).on(20_500, end);
    expect(play.session.replaced).toMatchObject([
      { why: { cause: 'agent_session_failed', detail: 'made-up.LLM: APIStatusError: 401' } },
    ]);
  });

  it('by an error ends nothing while another one is open', () => {
    const play = attached('launcher').on(2000, session(2)).on(3000, session(1, error));
    expect([play.phase, play.session.replaced]).toEqual(['live', undefined]);
  });

  it('ends the session 10 s later if no caller is there, by a request to the agent', () => {
    const play = attached('launcher').on(2000, session(1));
    play.on(20_000, session(0, { reason: 'user_initiated' })).on(20_000, session(0));
    polled(play, 29_000, [agent]);
    expect(play.phase).toBe('live');
    polled(play, 31_000, [agent]);
    expect(play.ending).toMatchObject({ reason: 'completed', cause: 'agent_session_closed' });
    expect(play.ladder[0]).toBe('aclose:…');
  });

  it('ends the session 10 s after a restart if it has closed before', () => {
    const play = attached('launcher').on(2000, session(1));
    play.on(20_000, session(0, { reason: 'user_initiated' }));
    play.on(25_000, { type: 'gap', gapMs: 0 }).on(26_000, session(0));
    polled(play, 34_000, [agent]);
    expect(play.phase).toBe('live');
    polled(play, 36_000, [agent]);
    expect(play.ending).toMatchObject({ reason: 'completed', cause: 'agent_session_closed' });
  });

  it.each([
    ['a caller is there', [agent, participant('ann')], 0],
    ['a phone rings', [agent, participant('sip', { kind: 'sip', sipCallStatus: 'ringing' })], 0],
    ['another one was opened', [agent], 1],
  ])('ends nothing while %s', (_what, who, open) => {
    const play = attached('launcher')
      .on(2000, session(1))
      .on(20_000, session(0, { reason: 'user_initiated' }));
    if (open > 0) play.on(25_000, session(open));
    expect(polled(play, 31_000, who).ending?.cause).not.toBe('agent_session_closed');
  });

  it('was not open before: a start that failed ends nothing, because the agent may try another', () => {
    const failed = session(0, { reason: 'not_started' });
    const play = attached('launcher')
      .on(2000, look(2000, [agent]))
      .on(3000, session(1))
      .on(4000, failed);
    expect(play.session.vitals.agentSessions).toMatchObject({ closedMs: null });
    play.on(9000, session(1)).on(9500, session(0, { reason: 'user_initiated' }));
    play.on(10_000, session(1)).on(10_500, failed);
    expect(play.session.vitals.agentSessions).toMatchObject({ closedMs: 10_500 });
  });

  it('is never noted of a worker that opened none', () => {
    expect(spec().profile.autoAttach).toBeUndefined();
    expect(polled(attached('launcher'), 40_000, [agent, participant('ann')]).phase).toBe('live');
  });
});
