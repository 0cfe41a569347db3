/** A LiveKit agent that never connected to curfew: the evidence names the usual causes. */
import { describe, expect, it } from 'vitest';
import { Play, profile, WORKER } from './support.ts';

const livekit = profile({ protocol: 'livekit' });
const EXIT = {
  type: 'exited',
  workerId: WORKER,
  exit: { code: 1, signal: null, at: { bootMs: 10, wallMs: 10 } },
} as const;
const CONNECTED = { type: 'channel', workerId: WORKER, open: true } as const;

describe('a LiveKit agent that has not connected to curfew', () => {
  it('names the launcher and keys in its code after its start timeout', () => {
    const { ending } = Play.starting({ profile: livekit }).until(30_000);
    expect(ending).toMatchObject({ reason: 'start_timeout' });
    expect(ending?.detail).toMatch(
      /^not ready after 30000 ms: the agent has not connected to curfew. .*check python -I .*PYTHONPATH.* LiveKit keys/,
    );
  });

  it('names the log after an early exit', () => {
    const { ending } = Play.starting({ profile: livekit }).on(10, EXIT);
    expect(ending).toMatchObject({ reason: 'crashed', cause: 'exit' });
    expect(ending?.detail).toMatch(
      /^the worker exited with code 1: the agent has not connected to curfew. .*`curfew logs`/,
    );
  });
});

describe('the evidence says nothing of a connection', () => {
  it.each([
    ['for a LiveKit agent that had connected', livekit, true],
    ['for another protocol', profile({ protocol: 'curfew' }), false],
  ])('%s', (_what, one, isConnected) => {
    const start = () => {
      const play = Play.starting({ profile: one });
      return isConnected ? play.on(5, CONNECTED) : play;
    };
    expect(start().until(30_000).ending?.detail).toBe('not ready after 30000 ms');
    expect(start().on(10, EXIT).ending?.detail).toBe('the worker exited with code 1');
  });
});
