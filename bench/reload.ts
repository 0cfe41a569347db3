/**
 * A page that is loaded again: from the return of the caller to the participant of the next agent. The agent before still writes
 * its notes. Beside it a first call of the same warm agents, by LiveKit's own dispatch: from the request to the participant.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { findPythonAgents } from '../scripts/python-agents.mjs';
import type { CapacityView } from '../src/api/host-schemas.ts';
import type { SessionView } from '../src/api/session-schemas.ts';
import { Callers } from '../test/support/callers/callers.ts';
import { Daemon, ROOT } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import { LiveKit } from '../test/support/livekit/livekit-server.ts';

const ROUNDS = 5;
const AWAY_MS = 5000;
const NOTE_SECONDS = 20;
const START_MS = 120_000;
const AGENT_KIND = 4;
/** Race: an AgentSession does not close itself when its caller leaves before the session has found it. */
const LINK_MS = 1500;

export async function measureReload(): Promise<string> {
  const livekit = await LiveKit.start();
  const callers = new Callers(livekit);
  const dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  const python = findPythonAgents();
  const agents = {
    ...(python !== null && {
      Python: warm([python, join(ROOT, 'test/fixtures/agents/session.py')], 'Python'),
    }),
    JavaScript: warm([process.execPath, join(ROOT, 'test/fixtures/agents/session.mjs')], 'JavaScript'),
  };
  const config = { ...livekit.config(join(dir, 'c.sock')), agents };
  const daemon = await new Daemon({ config, dir }).start();
  try {
    const lines: string[] = [];
    for (const agent of Object.keys(agents))
      lines.push(await measureAgent({ livekit, callers, daemon, agent }));
    return lines.join('\n');
  } finally {
    callers.kill();
    await daemon.close();
    await livekit.close();
  }
}

function warm(command: readonly string[], name: string): object {
  return {
    command: [...command, 'start'],
    protocol: 'livekit',
    agent_name: name,
    warm: 1,
    start_timeout: '120s',
  };
}

interface Stage {
  readonly livekit: LiveKit;
  readonly callers: Callers;
  readonly daemon: Daemon;
  readonly agent: string;
}

async function measureAgent(stage: Stage): Promise<string> {
  const first: number[] = [];
  const again: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const took = await playRound(stage, `${stage.agent} ${round}`);
    first.push(took.firstMs);
    again.push(took.againMs);
  }
  return `${stage.agent}, warm, notes of ${NOTE_SECONDS} s: return → next agent in the room ${textOf(again)}; a first call: dispatch → agent in the room ${textOf(first)}`;
}

async function playRound(
  { livekit, callers, daemon, agent }: Stage,
  room: string,
): Promise<{ firstMs: number; againMs: number }> {
  const agentSince = async (sinceMs: number) => {
    await until(
      'the agent is in the room',
      async () =>
        (await livekit.rooms.listParticipants(room)).some(
          ({ kind, joinedAtMs }) => kind === AGENT_KIND && Number(joinedAtMs) >= sinceMs,
        ),
      START_MS,
    );
  };
  await isWarm(daemon, agent);
  await callers.join(room, 'ann', { listens: true });
  const dispatchedMs = Date.now();
  await livekit.dispatches.createDispatch(room, agent, { metadata: JSON.stringify({ notes: NOTE_SECONDS }) });
  await agentSince(dispatchedMs);
  const firstMs = Date.now() - dispatchedMs;
  await until(
    'the caller is seen',
    async () =>
      (await daemon.get<{ sessions: SessionView[] }>('/v1/sessions')).body.sessions.some(
        (one) => one.room === room && one.state === 'live' && one.presence?.callers === 1,
      ),
    START_MS,
  );
  await isWarm(daemon, agent);
  await pause(LINK_MS);
  await callers.leave(room, 'ann');
  await pause(AWAY_MS);
  const backMs = Date.now();
  await callers.join(room, 'ann', { listens: true });
  const joinedMs = Date.now();
  await agentSince(backMs);
  const againMs = Date.now() - joinedMs;
  await callers.leave(room, 'ann');
  await daemon.call('POST', '/v1/sessions/release', { filter: { room } });
  return { firstMs, againMs };
}

function isWarm(daemon: Daemon, agent: string): Promise<unknown> {
  return until(
    'a worker is warm',
    async () =>
      (await daemon.get<CapacityView>('/v1/capacity')).body.warm.find((one) => one.agent === agent)?.ready ===
      1,
    START_MS,
  );
}

function textOf(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const seconds = (ms: number) => (ms / 1000).toFixed(2);
  return `${seconds(sorted[Math.floor(sorted.length / 2)] ?? 0)} s (${seconds(sorted[0] ?? 0)} to ${seconds(sorted.at(-1) ?? 0)})`;
}
