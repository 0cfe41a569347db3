/** Job adapters under test, with the events that they reported and the lines that they logged. */
import { createJobs } from '../../../src/adapters/livekit/jobs/livekit-jobs.ts';
import { createClock } from '../../../src/adapters/telemetry/boot-clock.ts';
import type { Clock } from '../../../src/ports/clock.ts';
import type { Job, JobAnswer, Jobs } from '../../../src/ports/jobs.ts';
import type { Log } from '../../../src/ports/log.ts';
import { KEY, SECRET } from '../../support/livekit/livekit-server.ts';

export interface Line {
  readonly level: string;
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

export interface Adapter {
  readonly jobs: Jobs;
  readonly offers: Job[];
  readonly assigned: string[];
  readonly terminated: string[];
  readonly withdrawn: string[];
  readonly lines: Line[];
  /** Messages of the levels warn and error. */
  complaints(): string[];
  isRegistered(): boolean;
}

export interface AdapterOptions {
  readonly url: string;
  readonly names?: readonly string[];
  readonly apiSecret?: string;
  readonly clock?: Clock;
  readonly offered?: (job: Job) => Promise<JobAnswer>;
}

export const accept = (job: Job): Promise<JobAnswer> =>
  Promise.resolve({ accepted: true, identity: `agent-${job.id}`, name: 'Agent' });

export const refuse = (): Promise<JobAnswer> => Promise.resolve({ accepted: false, why: 'full' });

export class Adapters {
  readonly #opened: Jobs[] = [];

  open({
    url,
    names = ['a'],
    apiSecret = SECRET,
    clock = createClock(),
    offered = accept,
  }: AdapterOptions): Adapter {
    const lines: Line[] = [];
    const jobs = createJobs({
      livekit: { url, apiKey: KEY, apiSecret },
      clock,
      log: collect(lines),
      agentNames: names,
      version: '1.2.3',
    });
    this.#opened.push(jobs);
    const adapter: Adapter = {
      jobs,
      offers: [],
      assigned: [],
      terminated: [],
      withdrawn: [],
      lines,
      complaints: () => lines.filter((one) => /warn|error/.test(one.level)).map((one) => one.message),
      isRegistered: () => jobs.status().every((one) => one.state === 'registered'),
    };
    jobs.start({
      offered: (job) => {
        adapter.offers.push(job);
        return offered(job);
      },
      assigned: (jobId) => adapter.assigned.push(jobId),
      terminated: (jobId) => adapter.terminated.push(jobId),
      withdrawn: (jobId, why) => adapter.withdrawn.push(`${jobId} ${why}`),
    });
    return adapter;
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.splice(0).map((jobs) => jobs.close()));
  }
}

function collect(lines: Line[]): Log {
  const at = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, fields: { ...fields }, message });
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** A clock that runs `factor` times faster, so that half a minute can pass in a second. */
export function fastClock(factor: number): Clock {
  const clock = createClock();
  const startMs = clock.now().bootMs;
  const bootMs = () => startMs + (clock.now().bootMs - startMs) * factor;
  return {
    now: () => ({ bootMs: bootMs(), wallMs: Date.now() }),
    at: (dueMs, callback) => clock.at(startMs + (dueMs - startMs) / factor, callback),
  };
}

/** A clock that records its alarms: the delay of each in ms, and how many are open. */
export function alarms(clock: Clock): Clock & { readonly set: number[]; open(): number } {
  const set: number[] = [];
  const open = new Set<object>();
  return {
    set,
    open: () => open.size,
    now: () => clock.now(),
    at: (dueMs, callback) => {
      const alarm = {};
      open.add(alarm);
      set.push(dueMs - clock.now().bootMs);
      const cancel = clock.at(dueMs, () => {
        open.delete(alarm);
        callback();
      });
      return () => {
        open.delete(alarm);
        cancel();
      };
    },
  };
}
