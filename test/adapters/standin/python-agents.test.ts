/** livekit-agents of Python, unchanged. */
import { describe, expect, it } from 'vitest';
import { until } from '../../support/lib/wait.ts';
import { agentsIn, roomOf } from '../../support/livekit/framework-agents.ts';
import { KEY, SECRET } from '../../support/livekit/livekit-server.ts';
import { startInRoom, testFramework, useStage } from './frameworks.ts';

const TEST_MS = 120_000;

describe('an unchanged python agent', { timeout: TEST_MS }, () => testFramework('python'));

const stage = useStage();

it(
  'an agent joins a second room only with real keys, which it can have beside the given keys',
  async () => {
    const { rig, agents, livekit } = stage();
    await startInRoom(stage(), 'python', 'w-1', {
      file: 'side_room',
      env: { REAL_LIVEKIT_URL: livekit.url, REAL_LIVEKIT_API_KEY: KEY, REAL_LIVEKIT_API_SECRET: SECRET },
    });
    await until('both were tried', () => agents.output('w-1').includes('with real keys'), 30_000);
    expect(agents.output('w-1')).toContain('with the given keys: refused');
    expect(agents.output('w-1')).toContain('with real keys: joined, of True rooms');
    expect(await agentsIn(livekit, `${roomOf(rig, 'w-1')}-human-agent`)).toEqual(['agent-beside']);
  },
  TEST_MS,
);
