/**
 * Sends ready, status and watchdog messages to systemd. Without NOTIFY_SOCKET it does nothing. Source: sd_notify(3).
 * Because: Node has no Unix datagram sockets. So each message is a bounded run of `systemd-notify`.
 * The unit needs NotifyAccess=all.
 */
import { execFile } from 'node:child_process';
import { messageOf } from '../../lib/errors.ts';
import { SYSTEMD } from '../../lib/limits/service-limits.ts';
import type { Log } from '../../ports/log.ts';

export type Env = Readonly<Record<string, string | undefined>>;

export interface Notify {
  /**
   * Sends assignments of the form `VARIABLE=VALUE`, in the order of the calls.
   * Resolves when systemd has read the message, or at the bound. Never rejects.
   */
  send(...assignments: readonly string[]): Promise<void>;
  /** Feeds the watchdog from the event loop until the process ends. `status` is the line in `systemctl status`. */
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
      // Only the first failure is an error, because the watchdog would repeat it every few seconds.
      const level = failures === 1 ? 'error' : 'debug';
      log[level]({ error: failure }, 'a message to systemd failed; check `systemd-notify` and NOTIFY_SOCKET');
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

/** Makes one line, because systemd reads the text after a newline as another assignment. */
export function statusOf(text: string): string {
  return `STATUS=${text.replaceAll('\n', ' ')}`;
}

/** Half of systemd's watchdog interval. `null`: systemd does not watch this process. */
function watchdogMs(env: Env, pid: number): number | null {
  const us = Number(env.WATCHDOG_USEC);
  const isOurs = env.WATCHDOG_PID === undefined || env.WATCHDOG_PID === String(pid);
  return isOurs && Number.isSafeInteger(us) && us > 0 ? us / 2000 : null;
}

/** Resolves with the error's text. `null`: the run succeeded. */
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
