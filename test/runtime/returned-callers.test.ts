/** The next session of a caller that returned to its room. */
import { describe, expect, it } from 'vitest';
import { newSession } from '../../src/core/model/updates.ts';
import { rejoinSpec } from '../../src/runtime/dispatch/session-spec.ts';
import type { SupervisorDeps } from '../../src/runtime/supervisor-deps.ts';
import { makeAgentJob } from '../../src/runtime/workers/agent-job-message.ts';
import { at, Play, profile, spec } from '../core/support.ts';

const job = { id: 'AJ_1', agentName: 'voice', metadata: '{"lang":"de"}', attributes: {} };
const deps = {
  profileOf: () => profile({ protocol: 'livekit' }),
  newId: () => 'next',
  instance: { id: 'i', bootId: 'b' },
  rooms: null,
} as unknown as SupervisorDeps;

describe('the job of the next agent has the metadata', () => {
  const metadataOf = async (play: Play) => {
    const next = rejoinSpec(play.session, { deps, now: at(9000), maxDurationMs: 1000, begunMs: [] });
    const session = newSession(next, play.session.config.metadata);
    return (await makeAgentJob(session, null)).metadata;
  };
  const brought = () => Play.live(spec({ unasked: true, job }));

  it('of LiveKit, as long as nobody changed it', async () => {
    expect(await metadataOf(brought())).toBe('{"lang":"de"}');
  });

  it.each([
    ['a change by the API', { lang: 'fr' }, '{"lang":"fr"}'],
    ['a change to nothing', {}, ''],
  ])('of %s', async (_, metadata, expected) => {
    expect(await metadataOf(brought().on(1000, { type: 'metadata', metadata } as never))).toBe(expected);
  });
});
