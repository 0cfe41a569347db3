/** `curfew serve`: the supervisor until a signal or a drain ends it. */
import type { Worker } from 'node:worker_threads';
import type { Config } from '../adapters/config/config.ts';
import type { Service } from '../adapters/systemd/systemd-service.ts';
import { createService } from '../adapters/systemd/systemd-service.ts';
import { createLog } from '../adapters/telemetry/pino-log.ts';
import type { CapacityView } from '../api/host-schemas.ts';
import type { Actor } from '../core/model/session.ts';
import { messageOf } from '../lib/errors.ts';
import { DRAIN } from '../lib/limits/service-limits.ts';
import { stopEntry } from '../runtime/audited-api.ts';
import type { EarlySignal, HeldSignals } from './early-signals.ts';
import type { Running } from './start-supervisor.ts';
import { startSupervisor } from './start-supervisor.ts';

/** The first signal. Later signals have no effect, so that a second Ctrl-C does not skip the SIGKILL of a teardown. */
export function firstStopSignal(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of signals) process.on(signal, () => resolve(signal));
  });
}

const FIRST_PROCESS =
  'curfew is PID 1: orphans of workers become its children, and Node reaps none of them, so zombies fill the pids limit. Start it under an init: `sh container/curfew-init.sh curfew serve` of this package, or `docker run --init`';

export interface ServeOptions {
  /** Called once when the supervisor accepts requests. */
  readonly onReady?: (running: { httpPort: number | null }) => void;
  /** Reads the config from its file again, for a reload. Absent: reload requests are refused. */
  readonly reread?: () => Config;
  /** Signals that came while the program was loaded. */
  readonly held?: HeldSignals | null;
  /** The registry's thread, started early. */
  readonly registryThread?: Worker;
}

/** Runs the supervisor until a signal or a drain ends it. Returns the exit code: 7 when a worker survived. */
export async function serve(config: Config, options: ServeOptions = {}): Promise<number> {
  const { onReady, reread = null, held = null, registryThread = null } = options;
  const stopping = firstStopSignal(['SIGTERM', 'SIGINT']);
  const log = createLog(config.log);
  const service = createService({ env: process.env, pid: process.pid, log });
  const running = await startSupervisor(config, {
    listeners: true,
    log,
    reread,
    registryThread,
    around: service.reloading,
  });
  if (process.pid === 1) log.warn({}, FIRST_PROCESS);
  listenToSignals(running, held);
  onReady?.(running);
  await service.ready(() => statusLine(running.supervisor.capacity()));
  const signal = await Promise.race([stopping, running.supervisor.drainOver.then(() => null)]);
  if (signal === null) return endDrain(running, service);
  const { onTerm, timeoutMs: boundMs } = running.config.current().shutdown;
  const ending = await service.ending(signal, { onTerm, boundMs });
  running.log.info({ signal, ending }, 'stopping');
  const audited = running.audit.write(stopEntry(signal, ending, running.supervisor.sessions.all()));
  if (ending === 'drain') await running.supervisor.drained(boundMs);
  const code = await (ending === 'leave' ? leave(running) : release(running, signal));
  await audited;
  return code;
}

async function leave(running: Running): Promise<number> {
  await running.leave();
  running.log.info({}, 'ended; the workers go on, and the next start adopts them');
  return 0;
}

async function release(running: Running, cause: string): Promise<number> {
  const { left } = await running.stop({ kind: 'supervisor', name: cause });
  running.log[left === 0 ? 'info' : 'error'](
    { left },
    left === 0
      ? 'stopped: every call was released, and no process of a worker is left'
      : 'stopped, but some workers survived SIGKILL: run `curfew cleanup` to see them',
  );
  return left === 0 ? 0 : 7;
}

/** SIGHUP reloads the config, SIGUSR1 starts a drain. */
function listenToSignals({ api, log }: Running, held: HeldSignals | null): void {
  const work: Record<EarlySignal, (by: Actor) => Promise<unknown>> = {
    // The reload has logged what is wrong in the config.
    SIGHUP: (by) => api.reload(by).catch(() => undefined),
    SIGUSR1: (by) => api.drain(null, by),
  };
  const act = (signal: EarlySignal) =>
    work[signal]({ kind: 'supervisor', name: signal }).catch((error: unknown) =>
      log.error({ signal, error: messageOf(error) }, 'the request of a signal failed'),
    );
  process.on('SIGHUP', () => void act('SIGHUP'));
  process.on('SIGUSR1', () => void act('SIGUSR1'));
  for (const signal of held?.release() ?? []) void act(signal);
}

/** The last call ended, or the drain's time is over. Releases what is left. systemd does not start the unit again. */
async function endDrain(running: Running, service: Service): Promise<number> {
  running.log.info({}, 'drained: stopping');
  const left = await release(running, 'drain');
  return left === 0 && service.isUnit ? DRAIN.exitUnderSystemd : left;
}

/** For `systemctl status`. */
function statusLine({ sessions, quotas }: CapacityView): string {
  const { queued, starting, live, closing } = sessions;
  const most = quotas.find((one) => one.name === 'host')?.limit ?? 0;
  return `${live} live, ${starting} starting, ${closing} closing, ${queued} queued; at most ${most}`;
}
