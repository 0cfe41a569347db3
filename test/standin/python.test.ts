/** livekit-agents of Python, unchanged. */
import { expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import { describeFramework, meets, useStage } from './frameworks.ts';

const TEST_MS = 120_000;

describeFramework('python', TEST_MS);

const stage = useStage();

it(
  'tells the end of its job',
  async () => {
    const { rig } = stage();
    await meets(stage(), 'python', 'w-1');
    rig.standIn.terminate(workerId('w-1'));
    expect(await rig.heardBy('w-1', 'closed', 30_000)).toEqual({ type: 'closed' });
  },
  TEST_MS,
);
