/** Time from `kill -9` of an agent under a caller until the next one is in the room, without the backoff. The agent is the Python example. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { findPythonAgents } from '../scripts/python-agents.mjs';
import type { CapacityView } from '../src/api/host-schemas.ts';
import { Callers } from '../test/support/callers/callers.ts';
import { Daemon, ROOT } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import { LiveKit } from '../test/support/livekit/livekit-server.ts';
import { medianText } from './parts.ts';

const ROUNDS = 5;
const START_MS = 120_000;
const SETTLED_MS = 500;
const AGENT = 4;

interface Way {
  readonly who: string;
  readonly profile: { readonly prefork: 'auto' | 'off'; readonly warm: number };
}

const WAYS: readonly Way[] = [
  { who: 'a warm worker, `prefork: auto`', profile: { prefork: 'auto', warm: 1 } },
  { who: 'a fork', profile: { prefork: 'auto', warm: 0 } },
  { who: 'a warm worker, `prefork: off`', profile: { prefork: 'off', warm: 1 } },
  { who: 'a cold start', profile: { prefork: 'off', warm: 0 } },
];

export async function measureNextAgent(): Promise<string> {
  const python = findPythonAgents();
  if (python === null) return 'next agent: livekit-agents is not installed; `npm test` installs it';
  const lines: string[] = [];
  for (const way of WAYS) lines.push(await measure(way, python));
  return [
    '| kill -9 of an agent under a caller → the next one is in the room, after the backoff | median (least to most) | goal |',
    '|---|---|---|',
    ...lines,
  ].join('\n');
}

async function measure({ who, profile }: Way, python: string): Promise<string> {
  const livekit = await LiveKit.start();
  const dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  const command = [python, join(ROOT, 'examples/livekit-agents/agent.py'), 'start'];
  const agent = { command, protocol: 'livekit', start_timeout: '120s', no_caller: '1h', ...profile };
  const config = {
    ...livekit.config(join(dir, 'c.sock')),
    presence: { poll_interval: '500ms' },
    agents: { default: agent },
  };
  const daemon = await new Daemon({ config, dir }).start();
  const callers = new Callers(livekit);
  const times: number[] = [];
  const agentIn = async (room: string) =>
    (await livekit.rooms.listParticipants(room)).find(({ kind }) => kind === AGENT)?.sid ?? null;
  const isReady = async () => {
    const { warm, zygotes } = (await daemon.get<CapacityView>('/v1/capacity')).body;
    const hasZygote = profile.prefork === 'off' || zygotes.some(({ ready }) => ready > 0);
    return hasZygote && (profile.warm === 0 || warm.some(({ ready }) => ready === profile.warm));
  };
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const room = `next-${round}`;
      await callers.join(room, 'ann');
      const { body } = await daemon.dispatch({ room });
      const first = await until('the agent is in its room', () => agentIn(room), START_MS);
      await until('the next one can be ready', isReady, START_MS);
      await pause(SETTLED_MS);
      process.kill((await daemon.session(body.id)).pid ?? 0, 'SIGKILL');
      const dueMs = await until('it is to be replaced', async () => {
        const { deadlines, restarts } = await daemon.session(body.id);
        const due = deadlines.find((one) => one.kind === 'replace')?.at;
        return due ?? (restarts > 0 ? 'missed' : null);
      }).then((at) => Date.parse(at));
      const isNext = async () => {
        const sid = await agentIn(room);
        return sid !== null && sid !== first;
      };
      await until('the next agent is in the room', isNext, START_MS);
      // NaN: on a busy machine the poll misses the backoff.
      if (!Number.isNaN(dueMs)) times.push(Date.now() - dueMs);
      await daemon.release(body.id);
      await callers.leave(room, 'ann');
      await daemon.ended(body.id, START_MS);
    }
  } finally {
    callers.kill();
    await daemon.close();
    await livekit.close();
  }
  return `| ${who} | ${medianText(times)} | 400 ms |`;
}
