/** What holds for every framework: the real package, the real LiveKit, an agent file that knows nothing of curfew. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { workerId } from '../../../src/core/ids.ts';
import { until } from '../../support/lib/wait.ts';
import type { AgentOptions, Framework } from '../../support/livekit/framework-agents.ts';
import { Agents, agentsIn, assign, jobProcessOf, roomOf } from '../../support/livekit/framework-agents.ts';
import { KEY, LiveKit, SECRET } from '../../support/livekit/livekit-server.ts';
import { StandInRig } from '../../support/livekit/standin-rig.ts';

export interface Stage {
  readonly livekit: LiveKit;
  readonly rig: StandInRig;
  readonly agents: Agents;
}

const MEET_MS = 60_000;
/** The stage of each test, made anew; `livekit` is one for all. */
export function useStage(): () => Stage {
  let livekit: LiveKit | null = null;
  let stage: Stage | null = null;
  beforeAll(async () => {
    livekit = await LiveKit.start();
  });
  afterAll(async () => {
    await livekit?.close();
  });
  beforeEach(async () => {
    if (livekit === null) throw new Error('LiveKit did not start');
    const access = { url: livekit.url, apiKey: KEY, apiSecret: SECRET };
    const rig = await new StandInRig({ livekit: access }).listen();
    stage = { livekit, rig, agents: new Agents(rig) };
  });
  afterEach(async () => {
    stage?.agents.close();
    await stage?.rig.close();
  });
  return () => {
    if (stage === null) throw new Error('there is no stage');
    return stage;
  };
}

/** Starts it, gives it its job and waits until it is in its room. */
export async function meets(
  { livekit, rig, agents }: Stage,
  framework: Framework,
  name: string,
  options?: AgentOptions,
): Promise<void> {
  agents.start(name, framework, options);
  await agents.ready(name);
  await assign(rig, livekit, name);
  await inRoom({ livekit, rig, agents }, name);
}

export async function inRoom({ livekit, rig, agents }: Stage, name: string): Promise<void> {
  await until(
    `${name} is in its room`,
    async () => (await agentsIn(livekit, roomOf(rig, name))).includes(`agent-${name}`),
    MEET_MS,
  ).catch((error: Error) => {
    throw new Error(`${error.message}; it printed: ${agents.output(name)}`);
  });
}

export async function leaves({ livekit, rig }: Stage, name: string): Promise<void> {
  await until(
    `${name} leaves its room`,
    async () => (await agentsIn(livekit, roomOf(rig, name))).length === 0,
    MEET_MS,
  );
}

export function describeFramework(framework: Framework, testMs: number): void {
  describe(`an unchanged ${framework} agent`, { timeout: testMs }, () => {
    const stage = useStage();

    it('joins the room of its job under our identity, and leaves when it is asked', async () => {
      const { rig, livekit } = stage();
      await meets(stage(), framework, 'w-1');
      expect(rig.typesOf('w-1')).toContain('ready');
      expect(await agentsIn(livekit, roomOf(rig, 'w-1'))).toEqual(['agent-w-1']);
      await rig.heardBy('w-1', 'heartbeat', MEET_MS);
      expect(rig.standIn.terminate(workerId('w-1'))).toBe(true);
      await leaves(stage(), 'w-1');
      expect(await rig.heardBy('w-1', 'closed', MEET_MS)).toEqual({ type: 'closed' });
      expect(rig.typesOf('w-1')).not.toContain('error');
    });

    it('that has its job killed tells it', async () => {
      const { rig, agents } = stage();
      await meets(stage(), framework, 'w-1');
      process.kill(jobProcessOf(agents.tree('w-1')), 'SIGKILL');
      expect(await rig.heardBy('w-1', 'failed', MEET_MS)).toMatchObject({ message: expect.any(String) });
    });

    it("asks LiveKit's API of its own room, and no other", async () => {
      const { rig, agents, livekit } = stage();
      await livekit.rooms.createRoom({ name: 'other' });
      await meets(stage(), framework, 'w-1', { file: 'asks' });
      await until('both are answered', () => /heard of other/.test(agents.output('w-1')), MEET_MS);
      expect(agents.output('w-1')).toContain(`heard of ${roomOf(rig, 'w-1')}: done`);
      expect(agents.output('w-1')).toMatch(/heard of other: permission_denied: .*pass_env/);
      expect(
        (await livekit.rooms.listRooms([roomOf(rig, 'w-1'), 'other'])).map(({ metadata }) => metadata).sort(),
      ).toEqual(['', 'asked']);
    });

    it('does not disturb another one on the same host', async () => {
      const { rig, agents, livekit } = stage();
      for (const name of ['w-1', 'w-2']) agents.start(name, framework);
      for (const name of ['w-1', 'w-2']) await agents.ready(name);
      for (const name of ['w-1', 'w-2']) await assign(rig, livekit, name);
      for (const name of ['w-1', 'w-2']) await inRoom(stage(), name);
      rig.standIn.terminate(workerId('w-1'));
      await leaves(stage(), 'w-1');
      expect(await agentsIn(livekit, roomOf(rig, 'w-2'))).toEqual(['agent-w-2']);
    });

    it('keeps its job over a restart of curfew, and ends it when it is asked then', async () => {
      const { rig, agents, livekit } = stage();
      await meets(stage(), framework, 'w-1');
      await rig.restart();
      await until(
        'it is back',
        () => rig.heardOf('w-1').filter((what) => what === 'hello').length === 2,
        MEET_MS,
      );
      // As it says how often it would try.
      expect(agents.output('w-1')).toContain('Infinity');
      await rig.heardBy('w-1', 'heartbeat', MEET_MS);
      expect(await agentsIn(livekit, roomOf(rig, 'w-1'))).toEqual(['agent-w-1']);
      rig.standIn.terminate(workerId('w-1'));
      await leaves(stage(), 'w-1');
    });
  });
}
