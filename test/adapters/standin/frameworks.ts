/** The tests of every framework: the real package, a real LiveKit server, and an agent file without curfew. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { workerId } from '../../../src/core/ids.ts';
import { until } from '../../support/lib/wait.ts';
import type { AgentOptions, Framework } from '../../support/livekit/framework-agents.ts';
import { Agents, agentsIn, assign, jobProcessOf, roomOf } from '../../support/livekit/framework-agents.ts';
import { KEY, LiveKit, SECRET } from '../../support/livekit/livekit-server.ts';
import { jobOf, StandInRig } from '../../support/livekit/standin-rig.ts';

export interface Stage {
  readonly livekit: LiveKit;
  readonly rig: StandInRig;
  readonly agents: Agents;
}

const JOIN_MS = 60_000;
const KILLED =
  "the process of the job was ended by SIGKILL, which curfew did not send; the kernel's OOM killer is one possible sender";
/** The launcher for Python names the line of the code, too. */
const EXITED =
  /^(the entrypoint raised SystemExit: 1; at .*exits\.py:\d+ in |the process of the job exited with code 1$)/;

/** Each test has a new stage. All tests share `livekit`. */
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

/** Starts the agent, assigns its job and waits until the agent is in its room. */
export async function startInRoom(
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
    JOIN_MS,
  ).catch((error: Error) => {
    throw new Error(`${error.message}; it printed: ${agents.output(name)}`);
  });
}

export async function leaves({ livekit, rig }: Stage, name: string): Promise<void> {
  await until(
    `${name} leaves its room`,
    async () => (await agentsIn(livekit, roomOf(rig, name))).length === 0,
    JOIN_MS,
  );
}

/** To be called inside a `describe` with a timeout. */
export function testFramework(framework: Framework): void {
  const stage = useStage();

  it('joins the room of its job under our identity, and leaves on a termination', async () => {
    const { rig, livekit } = stage();
    await startInRoom(stage(), framework, 'w-1');
    expect(rig.typesOf('w-1')).toContain('ready');
    expect(await agentsIn(livekit, roomOf(rig, 'w-1'))).toEqual(['agent-w-1']);
    await rig.awaitEvent('w-1', 'heartbeat', JOIN_MS);
    expect(rig.standIn.terminate(workerId('w-1'))).toBe(true);
    await leaves(stage(), 'w-1');
    expect(await rig.awaitEvent('w-1', 'closed', JOIN_MS)).toEqual({ type: 'closed' });
    expect(rig.typesOf('w-1')).not.toContain('error');
  });

  it('reports a failure when the process of its job is killed', async () => {
    const { rig, agents } = stage();
    await startInRoom(stage(), framework, 'w-1');
    process.kill(jobProcessOf(agents.tree('w-1')), 'SIGKILL');
    // A signal from outside is no work of the agent's code, so the failure is no exception.
    expect(await rig.awaitEvent('w-1', 'failed', JOIN_MS)).toEqual({ type: 'failed', message: KILLED });
  });

  it('exits in its entrypoint, and its job has completed with 0 and raised an exception with 1', async () => {
    const { rig, agents, livekit } = stage();
    for (const [name, code] of [
      ['w-1', '0'],
      ['w-2', '1'],
    ] as const)
      agents.start(name, framework, { file: 'exits', env: { TEST_CODE: code } });
    for (const name of ['w-1', 'w-2']) {
      await agents.ready(name);
      await assign(rig, livekit, name);
    }
    expect(await rig.awaitEvent('w-1', 'closed', JOIN_MS)).toEqual({ type: 'closed' });
    expect(await rig.awaitEvent('w-2', 'failed', JOIN_MS)).toMatchObject({
      type: 'failed',
      message: expect.stringMatching(EXITED),
      raised: true,
    });
    expect(rig.typesOf('w-1')).not.toContain('failed');
  });

  it("reaches LiveKit's API for its own room and no other", async () => {
    const { rig, agents, livekit } = stage();
    await livekit.rooms.createRoom({ name: 'other' });
    await startInRoom(stage(), framework, 'w-1', { file: 'asks' });
    await until('both are answered', () => /heard of other/.test(agents.output('w-1')), JOIN_MS);
    expect(agents.output('w-1')).toContain(`heard of ${roomOf(rig, 'w-1')}: done`);
    expect(agents.output('w-1')).toMatch(/heard of other: permission_denied: .*livekit_access: full/);
    expect(
      (await livekit.rooms.listRooms([roomOf(rig, 'w-1'), 'other'])).map(({ metadata }) => metadata).sort(),
    ).toEqual(['', 'asked']);
  });

  it('does not disturb another agent on the same host', async () => {
    const { rig, agents, livekit } = stage();
    for (const name of ['w-1', 'w-2']) agents.start(name, framework);
    for (const name of ['w-1', 'w-2']) await agents.ready(name);
    for (const name of ['w-1', 'w-2']) await assign(rig, livekit, name);
    for (const name of ['w-1', 'w-2']) await inRoom(stage(), name);
    rig.standIn.terminate(workerId('w-1'));
    await leaves(stage(), 'w-1');
    expect(await agentsIn(livekit, roomOf(rig, 'w-2'))).toEqual(['agent-w-2']);
  });

  it('keeps its job over a restart of curfew with a full disk, and ends it on a termination after that', async () => {
    const { rig, agents, livekit } = stage();
    // The job's id cannot be written, so only the agent itself can say that it has the job.
    mkdirSync(join(rig.instance.workersDir, 'w-1', 'job'));
    await startInRoom(stage(), framework, 'w-1');
    rig.onHello = (worker) => void rig.standIn.offer(worker, jobOf({ id: 'AJ_w-1' }));
    await rig.restart();
    await until(
      'it is connected again',
      () => rig.eventsOf('w-1').filter((what) => what === 'hello').length === 2,
      JOIN_MS,
    );
    // The framework prints its limit of attempts.
    expect(agents.output('w-1')).toContain('Infinity');
    await rig.awaitEvent('w-1', 'heartbeat', JOIN_MS);
    expect(rig.answers).toHaveLength(1);
    expect(await agentsIn(livekit, roomOf(rig, 'w-1'))).toEqual(['agent-w-1']);
    rig.standIn.terminate(workerId('w-1'));
    await leaves(stage(), 'w-1');
  });
}
