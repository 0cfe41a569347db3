/** curfew as a systemd service: reports its state to systemd, and decides what a signal means. */
import { SYSTEMD } from '../../lib/limits/service-limits.ts';
import type { Log } from '../../ports/log.ts';
import type { Env } from './sd-notify.ts';
import { createNotify, statusOf } from './sd-notify.ts';
import { askJob, findUnit } from './unit-job.ts';

/** The effect of the supervisor's end on the calls. `leave`: they continue, and the next start adopts them. */
export type Ending = 'release' | 'drain' | 'leave';

export interface Service {
  /** True: systemd started this process and waits for its messages. */
  readonly isUnit: boolean;
  /** Call it when everything is recovered and all sockets are open. It also starts the watchdog messages. */
  ready(status: () => string): Promise<void>;
  /** Wraps a reload, so that systemd shows it. */
  reloading<T>(work: () => Promise<T>): Promise<T>;
  /** Decides the effect of a signal and announces it to systemd, with the time that it may take. */
  ending(signal: NodeJS.Signals, options: { onTerm: Ending; boundMs: number }): Promise<Ending>;
}

export function createService({ env, pid, log }: { env: Env; pid: number; log: Log }): Service {
  const notify = createNotify({ env, pid, log });
  return {
    isUnit: env.NOTIFY_SOCKET !== undefined,
    ready: async (status) => {
      notify.feed(status);
      await notify.send('READY=1', statusOf(status()));
    },
    reloading: async (work) => {
      const us = process.hrtime.bigint() / 1000n;
      await notify.send('RELOADING=1', `MONOTONIC_USEC=${us}`);
      try {
        return await work();
      } finally {
        await notify.send('READY=1');
      }
    },
    ending: async (signal, { onTerm, boundMs }) => {
      const ending = signal === 'SIGTERM' ? await endingOfTerm({ env, pid, onTerm, log }) : 'release';
      const extendUs = Math.round((boundMs + SYSTEMD.extendMs) * 1000);
      await notify.send('STOPPING=1', `EXTEND_TIMEOUT_USEC=${extendUs}`, statusOf(STATUS[ending]));
      return ending;
    },
  };
}

const STATUS: Readonly<Record<Ending, string>> = {
  release: 'stopping: every session is released',
  drain: 'stopping: waiting for the sessions to end',
  leave: 'stopping: the workers keep running and the next start adopts them',
};

async function endingOfTerm({
  env,
  pid,
  onTerm,
  log,
}: {
  env: Env;
  pid: number;
  onTerm: Ending;
  log: Log;
}): Promise<Ending> {
  const unit = findUnit(env, pid);
  if (unit === null) return onTerm;
  const job = await askJob(unit);
  log.info({ unit: unit.name, job }, 'SIGTERM received; systemd was asked for the job of the unit');
  // Without a stop job, systemd starts the unit again. The calls then have no reason to end.
  return job === 'stop' ? 'release' : 'leave';
}
