/** LiveKit agents with `prometheus_port`: their calls run side by side. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { freePorts } from '../support/lib/free-ports.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';

const python = findPythonAgents();

describe.runIf(HAS_LIVEKIT && python !== null)(
  'a Python agent with a port and a folder of its own for metrics',
  () => {
    let livekit: LiveKit;
    let daemon: Daemon;
    beforeEach(async () => {
      livekit = await LiveKit.start();
      const dir = mkdtempSync(join(tmpdir(), 'curfew-metrics-'));
      const agent = {
        command: [python ?? '', join(ROOT, 'test/fixtures/agents/metrics.py'), 'start'],
        protocol: 'livekit',
        env: { METRICS_PORT: String((await freePorts(1))[0]), METRICS_DIR: join(dir, 'shared-metrics') },
        ...SLOW_START,
        replace: false,
      };
      daemon = await new Daemon({
        config: { ...livekit.config(join(dir, 'c.sock')), agents: { default: agent } },
        dir,
      }).start();
    });
    afterEach(async () => {
      await daemon?.close();
      await livekit.close();
    });

    const metrics = async (agent: string) => {
      const answer = await daemon.call<string>('GET', `/metrics/agents/${agent}`);
      return { status: answer.status, text: answer.body };
    };

    it('serves two calls at the same time, and curfew the sum of their metrics, ended ones included', async () => {
      const ids = ['a', 'b'];
      for (const id of ids) expect((await daemon.dispatch({ room: id, id })).status).toBe(201);
      const both = await Promise.all(
        ids.map((id) => daemon.reaches(id, ['live', 'released', 'failed'], START_MS)),
      );
      expect(both.map((one) => one.state)).toEqual(['live', 'live']);
      for (const id of ids) {
        const log = readFileSync(join(daemon.stateDir, 'workers', `${id}.1`, 'log'), 'utf8');
        expect(log).toContain('the metrics server takes any free port in place of prometheus_port');
        expect(log).toContain('the metrics of this worker are in a folder of its own');
      }
      const has = (...lines: string[]) =>
        until(
          lines.join(', '),
          async () => {
            const { text } = await metrics('default');
            return lines.every((line) => text.includes(`${line}\n`)) || Promise.reject(new Error(text));
          },
          START_MS,
        );
      await has(
        'calls_total{kind="test"} 4',
        'open_calls 2',
        'work_seconds_bucket{le="1.0"} 2',
        'work_seconds_count 2',
      );
      expect((await metrics('default')).text).toContain('lk_agents_worker_load');
      await daemon.release('a');
      await daemon.ended('a');
      await has('calls_total{kind="test"} 4', 'open_calls 1', 'work_seconds_count 2', 'work_seconds_sum 1');
      expect(await metrics('nobody')).toMatchObject({ status: 404 });
    });
  },
);
