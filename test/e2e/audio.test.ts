/** Calls with audio under a supervisor that is killed several times. CURFEW_CALLS and CURFEW_KILLS raise the numbers. */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EchoCallers } from '../support/callers/echo-callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';

const CALLS = Number(process.env.CURFEW_CALLS ?? 2);
const KILLS = Number(process.env.CURFEW_KILLS ?? 5);
/** Jitter on a busy machine stays far below it. A dropped call goes far above it. */
const SILENCE_MS = 3000;

let livekit: LiveKit;
let daemon: Daemon;
let callers: EchoCallers;
beforeEach(async () => {
  livekit = await LiveKit.start();
  daemon = await new Daemon({
    config: {
      livekit: livekit.config('').livekit,
      limits: { sessions: 100, per_user: 'off' },
      agents: {
        default: {
          command: [process.execPath, join(ROOT, 'examples/parrot/agent.mjs')],
          protocol: 'curfew',
          start_timeout: '120s',
        },
      },
    },
  }).start();
  callers = new EchoCallers(livekit);
});
afterEach(async () => {
  callers.close();
  await daemon.close();
  await livekit.close();
});

describe.runIf(HAS_LIVEKIT)('audio', () => {
  it(`calls keep their audio through ${KILLS} kills of the supervisor`, async () => {
    const before = [];
    for (let call = 0; call < CALLS; call += 1) {
      const { body } = await daemon.dispatch({ room: `call ${call}`, limits: { maxDurationMs: 3_600_000 } });
      await callers.call(`call ${call}`);
      before.push(await daemon.reaches(body.id, ['live'], 60_000));
    }
    for (const { id } of before) await daemon.recorded(id, 'live');
    await callers.gaps();
    for (let kill = 0; kill < KILLS; kill += 1) {
      daemon.signal('SIGKILL');
      await daemon.exited();
      await daemon.start();
    }
    const gaps = await callers.gaps();
    console.log(
      `${CALLS} calls, ${KILLS} kills: the longest silence was ${Math.max(...Object.values(gaps))} ms`,
    );
    expect(Object.keys(gaps)).toHaveLength(CALLS);
    expect(Object.entries(gaps).filter(([, gapMs]) => gapMs > SILENCE_MS)).toEqual([]);
    for (const { id, pid, startedAt, deadlines } of before) {
      const after = await daemon.session(id);
      expect(after).toMatchObject({ state: 'live', pid, restarts: 0, startedAt, errors: { total: 0 } });
      const endOf = (list: typeof deadlines) =>
        Date.parse(list.find((one) => one.kind === 'max_duration')?.at ?? '');
      expect(Math.abs(endOf(after.deadlines) - endOf(deadlines))).toBeLessThan(100);
    }
    expect(new Set(marked(daemon.instanceId()).map((one) => one.worker)).size).toBe(CALLS);
  });
});
