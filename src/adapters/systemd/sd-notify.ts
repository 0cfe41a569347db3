/**
 * Messages to systemd: ready, status, watchdog. Nothing happens without NOTIFY_SOCKET. Source: sd_notify(3).
 * Node has no unix datagrams, so each message is a bounded run of `systemd-notify`; the unit needs NotifyAccess=all.
 */
import { execFile } from 'node:child_process';
import { messageOf } from '../../lib/errors.ts';
import { SYSTEMD } from '../../lib/limits/service-limits.ts';
import type { Log } from '../../ports/log.ts';

export type Env = Readonly<Record<string, string | undefined>>;

export interface Notify {
  /** Resolves when systemd has read it, or at the bound; in order, never rejects. `VARIABLE=VALUE` each. */
  send(...assignments: readonly string[]): Promise<void>;
  /** Feeds the watchdog from the event loop as long as the process is there, with a line for `systemctl status`. */
  feed(status: () => string): void;
}

export function createNotify({ env, pid, log }: { env: Env; pid: number; log: Log }): Notify {
  const socket = env.NOTIFY_SOCKET;
  if (socket === undefined) return { send: async () => undefined, feed: () => undefined };
  let last = Promise.resolve();
  let waiting = 0;
  let failures = 0;
  const send = (...assignments: readonly string[]) => {
    waiting += 1;
    last = last.then(async () => {
      const failure = await run(assignments, { PATH: env.PATH, NOTIFY_SOCKET: socket });
      waiting -= 1;
      if (failure === null) return;
      failures += 1;
      // The watchdog would say it again every few seconds.
      log[failures === 1 ? 'error' : 'debug']({ error: failure }, 'systemd could not be told of our state');
    });
    return last;
  };
  return {
    send,
    feed: (status) => {
      const everyMs = watchdogMs(env, pid);
      setInterval(() => {
        if (waiting === 0) void send('WATCHDOG=1', statusOf(status()));
      }, everyMs ?? SYSTEMD.statusMs).unref();
    },
  };
}

/** One line: what follows a newline would be an assignment of its own. */
export function statusOf(text: string): string {
  return `STATUS=${text.replaceAll('\n', ' ')}`;
}

/** Half of what systemd waits for; null: it does not wait for us. */
function watchdogMs(env: Env, pid: number): number | null {
  const us = Number(env.WATCHDOG_USEC);
  const isOurs = env.WATCHDOG_PID === undefined || env.WATCHDOG_PID === String(pid);
  return isOurs && Number.isSafeInteger(us) && us > 0 ? us / 2000 : null;
}

/** What went wrong; null: nothing. */
function run(assignments: readonly string[], env: Env): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(
      'systemd-notify',
      [...assignments],
      { env: { ...env }, timeout: SYSTEMD.notifyMs, killSignal: 'SIGKILL' },
      (error, _stdout, stderr) => resolve(error === null ? null : stderr.trim() || messageOf(error)),
    );
  });
}
