/** livekit-agents of Python, unchanged. */
import { expect, it } from 'vitest';
import { until } from '../../support/lib/wait.ts';
import { agentsIn, roomOf } from '../../support/livekit/framework-agents.ts';
import { KEY, SECRET } from '../../support/livekit/livekit-server.ts';
import { describeFramework, meets, useStage } from './frameworks.ts';

const TEST_MS = 120_000;

describeFramework('python', TEST_MS);

const stage = useStage();

it(
  'a second room needs real keys, which an agent may have beside ours',
  async () => {
    const { rig, agents, livekit } = stage();
    await meets(stage(), 'python', 'w-1', {
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
