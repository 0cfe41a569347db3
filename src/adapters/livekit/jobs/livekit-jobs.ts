/** The Jobs port with a LiveKit server. It registers one agent worker per agent name. */
import type { LiveKitKeys } from '../../../core/model/profile.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Jobs } from '../../../ports/jobs.ts';
import type { Log } from '../../../ports/log.ts';
import { createIsDeleted } from './deleted-dispatch.ts';
import { JobTable } from './job-table.ts';
import { Registration } from './registration.ts';

export interface JobsOptions {
  readonly livekit: LiveKitKeys;
  readonly clock: Clock;
  readonly log: Log;
  /** The empty name stands for LiveKit's default agent, which joins every new room. */
  readonly agentNames: readonly string[];
  /** curfew's version. LiveKit shows it. */
  readonly version: string;
}

export function createJobs({ agentNames, ...options }: JobsOptions): Jobs {
  const table = new JobTable({ ...options, isDeleted: createIsDeleted(options.livekit) });
  const registrations = new Map<string, Registration>();
  const closing = new Set<Promise<void>>();
  let isStarted = false;

  const add = (agentName: string) => {
    const registration = new Registration({
      ...options,
      agentName,
      onFrame: (connection, frame) => table.read({ agentName, connection }, frame),
    });
    registrations.set(agentName, registration);
    if (isStarted) registration.connect();
  };
  const setNames = (names: readonly string[]) => {
    for (const [name, registration] of registrations) {
      if (names.includes(name)) continue;
      registrations.delete(name);
      const closed = registration.close().finally(() => closing.delete(closed));
      closing.add(closed);
    }
    for (const name of names) if (!registrations.has(name)) add(name);
  };

  setNames(agentNames);
  return {
    start: (listener) => {
      table.listen(listener);
      isStarted = true;
      for (const registration of registrations.values()) registration.connect();
    },
    report: (jobId, status, error) =>
      table.report(jobId, { status, error }, (name) => registrations.get(name)?.connection ?? null),
    setLoad: (agentName, load) => registrations.get(agentName)?.setLoad(load),
    setNames,
    status: () => [...registrations.values()].map((registration) => registration.status),
    close: async () => {
      isStarted = false;
      table.close();
      setNames([]);
      await Promise.all(closing);
    },
  };
}
