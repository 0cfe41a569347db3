/** LiveKit agents without a line for curfew: the launcher attaches to their AgentSessions. Real frameworks, server and callers. */
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';

const FILES = join(ROOT, 'test/fixtures/agents');
const FRAMEWORKS = [
  ['Python', findPythonAgents(), [findPythonAgents() ?? '', join(FILES, 'session.py'), 'start']],
  ['JavaScript', 'node', [process.execPath, join(FILES, 'session.mjs'), 'start']],
] as const;
const TOOL_SECONDS = 45;
/** A worker and its replacement, each with its start and a call. */
const TWO_WORKERS_MS = 2 * START_MS;
const TEST_MS = 3 * TWO_WORKERS_MS;

describe('an unchanged agent with an AgentSession', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-attach-'));
    const common = { protocol: 'livekit', ...SLOW_START };
    const strict = { ...common, idle_timeout: '30s', no_active_stream: '40s' };
    const agents = FRAMEWORKS.flatMap(([name, , command]) => [
      // The job of this JavaScript agent runs in its worker's main process, and that of the strict one does not.
      [name, { ...common, command, ...(name === 'JavaScript' && { prefork: 'auto' }) }],
      [`${name}-strict`, { ...strict, command }],
      ...(name === 'Python' ? [[`${name}-warm`, { ...common, command, warm: 1 }]] : []),
    ]);
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      agents: Object.fromEntries(agents),
    };
    daemon = await new Daemon({ config, dir }).start();
  }, 60_000);
  afterAll(async () => {
    callers.kill();
    await daemon?.close();
    await livekit.close();
  });

  const reaches = (id: string, states: readonly SessionView['state'][], boundMs = START_MS) =>
    daemon.reaches(id, states, boundMs);
  const call = async (agent: string, metadata: { mode: string; seconds?: number }) => {
    const room = `${agent}-${metadata.mode}`;
    await callers.join(room, 'ann', { audio: false });
    const { body } = await daemon.dispatch({ room, agent, metadata });
    return body.id;
  };

  const logOf = (session: SessionView) =>
    readFileSync(join(daemon.dir, 'state/workers', `${session.id}.${session.restarts + 1}`, 'log'), 'utf8');
  const says = (id: string, what: string, boundMs: number) =>
    until(`the log says ${what}`, async () => logOf(await daemon.session(id)).includes(what), boundMs);

  const warmReady = (agent: string) =>
    until(
      `a worker of ${agent} is warm`,
      async () =>
        (await daemon.get<CapacityView>('/v1/capacity')).body.warm.find((one) => one.agent === agent)
          ?.ready === 1,
      TWO_WORKERS_MS,
    );

  for (const [name, found] of FRAMEWORKS) {
    // The rule is curfew's own, so each framework plays one of the two.
    if (name === 'Python')
      it.runIf(HAS_LIVEKIT && found !== null).concurrent(
        `is known when it was warm before its call: a refused key of its model is a crash with the error of the model (${name})`,
        async () => {
          const agent = `${name}-warm`;
          await warmReady(agent);
          const id = await call(agent, { mode: 'unauthorized' });
          const ended = await reaches(id, ['failed'], TWO_WORKERS_MS);
          expect(ended).toMatchObject({ reason: 'crashed', restarts: 1 });
          // The first worker has a name of the pool.
          expect(existsSync(join(daemon.dir, 'state/workers', `${id}.1`))).toBe(false);
          const [first] = ended.replaced;
          for (const one of [ended.evidence, first]) {
            expect(one?.cause).toBe('agent_session_failed');
            expect(one?.detail).toContain('401');
          }
        },
        TEST_MS,
      );

    if (name === 'JavaScript')
      it.runIf(HAS_LIVEKIT && found !== null).concurrent(
        `is replaced once when the model refuses its key, and then the session ends with the error of the model (${name})`,
        async () => {
          const ended = await reaches(await call(name, { mode: 'unauthorized' }), ['failed'], TWO_WORKERS_MS);
          expect(ended).toMatchObject({ reason: 'crashed', restarts: 1 });
          const [first] = ended.replaced;
          expect([ended.evidence?.cause, first?.cause]).toEqual([
            'agent_session_failed',
            'agent_session_failed',
          ]);
          for (const detail of [ended.evidence?.detail, first?.detail]) {
            expect(detail).toContain('Model: APIStatusError');
            expect(detail).toContain('401');
          }
        },
        TEST_MS,
      );

    it.runIf(HAS_LIVEKIT && found !== null).concurrent(
      `goes on while a tool runs for 45 s and the caller is quiet, without audio and with an idle timeout of 30 s (${name})`,
      async () => {
        const id = await call(`${name}-strict`, { mode: 'tool', seconds: TOOL_SECONDS });
        await reaches(id, ['live']);
        await says(id, 'tool done', START_MS);
        expect(await daemon.session(id)).toMatchObject({ state: 'live', restarts: 0 });
        const ended = await reaches(id, ['released'], START_MS);
        expect(ended.reason).toMatch(/^(idle_timeout|no_active_stream)$/);
      },
      TEST_MS,
    );

    it.runIf(HAS_LIVEKIT && found !== null).concurrent(
      `goes on when a tool blocks the event loop for 45 s, and the log has one notice with the stack (${name})`,
      async () => {
        const id = await call(name, { mode: 'blocking_tool', seconds: TOOL_SECONDS });
        await reaches(id, ['live']);
        await says(id, 'tool done', START_MS);
        const session = await daemon.session(id);
        expect(session).toMatchObject({ state: 'live', restarts: 0 });
        const notices = logOf(session)
          .split('\n')
          .filter((line) => /event loop of this job is blocked/.test(line));
        expect(notices).toHaveLength(1);
        expect(logOf(session)).toMatch(/blocking_tool|block \(/);
        await daemon.release(id);
      },
      TEST_MS,
    );

    it.runIf(HAS_LIVEKIT && found !== null).concurrent(
      `ends by its callbacks when it closed its AgentSession and no caller is there (${name})`,
      async () => {
        const { body } = await daemon.dispatch({
          room: `${name}-closes`,
          agent: name,
          metadata: { mode: 'closes', notes: 3 },
        });
        const ended = await reaches(body.id, ['released'], TWO_WORKERS_MS);
        expect(ended).toMatchObject({ reason: 'completed', evidence: { cause: 'agent_session_closed' } });
        expect(ended.evidence?.ladder[0]).toMatchObject({ step: 'aclose', outcome: 'done' });
        expect(logOf(ended)).toContain('notes written');
      },
      TEST_MS,
    );
  }
});
