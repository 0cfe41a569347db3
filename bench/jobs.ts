/** LiveKit's own dispatch with a real server, measured at the adapter: time to the offer, and from there to the assignment. */
import { createJobs } from '../src/adapters/livekit/jobs/livekit-jobs.ts';
import { createClock } from '../src/adapters/telemetry/boot-clock.ts';
import { until } from '../test/support/lib/wait.ts';
import { KEY, LiveKit, SECRET } from '../test/support/livekit/livekit-server.ts';

const JOBS = 50;
const NAME = 'bench';

interface Seen {
  offeredMs?: number;
  assignedMs?: number;
}

export async function measureAssignment(): Promise<string> {
  const livekit = await LiveKit.start();
  const jobs = createJobs({
    livekit: { url: livekit.url, apiKey: KEY, apiSecret: SECRET },
    clock: createClock(),
    log: { debug: () => undefined, info: () => undefined, warn: console.warn, error: console.error },
    agentNames: [NAME],
    version: 'bench',
  });
  const seen = new Map<string, Seen>();
  const rooms = new Map<string, Seen>();
  jobs.start({
    offered: ({ id, room }) => {
      const one = { offeredMs: performance.now() };
      seen.set(id, one);
      rooms.set(room.name, one);
      return Promise.resolve({ accepted: true, identity: `agent-${id}`, name: '' });
    },
    assigned: (id) => {
      const one = seen.get(id);
      if (one !== undefined) one.assignedMs = performance.now();
    },
    terminated: () => undefined,
    withdrawn: () => undefined,
  });
  try {
    await until('it is registered', () => jobs.status()[0]?.state === 'registered');
    const dispatch = async (room: string) => {
      const from = performance.now();
      await livekit.dispatches.createDispatch(room, NAME);
      const { offeredMs = 0, assignedMs = 0 } = await until('it is assigned', () => {
        const one = rooms.get(room);
        return one?.assignedMs === undefined ? null : one;
      });
      return { offer: offeredMs - from, assignment: assignedMs - offeredMs };
    };
    const single: Took[] = [];
    for (let index = 0; index < JOBS; index++) single.push(await dispatch(`single ${index}`));
    const burst = await Promise.all(Array.from({ length: JOBS }, (_, index) => dispatch(`burst ${index}`)));
    return [...linesOf('one by one', single), ...linesOf('all at once', burst)].join('\n');
  } finally {
    await jobs.close();
    await livekit.close();
  }
}

interface Took {
  readonly offer: number;
  readonly assignment: number;
}

function linesOf(how: string, took: readonly Took[]): string[] {
  const offers = took.map((one) => one.offer);
  const assignments = took.map((one) => one.assignment);
  return [
    `${took.length} LiveKit dispatches ${how}: createDispatch → offered ${textOf(offers)} (LiveKit itself waits 200 ms)`,
    `${took.length} LiveKit dispatches ${how}: offered → assigned ${textOf(assignments)}`,
  ];
}

function textOf(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return `p50 ${at(0.5).toFixed(1)} ms, p95 ${at(0.95).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms`;
}
