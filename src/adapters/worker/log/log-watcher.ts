/** Checks the sizes of workers' logs and has those cut that are too large. Each log has at most one check at a time. */
import { stat } from 'node:fs/promises';
import pTimeout from 'p-timeout';
import { messageOf } from '../../../lib/errors.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import { TrimClient } from './trim-client.ts';
import type { LogSizes } from './trim-log.ts';
import { cappedBytes } from './trim-log.ts';

export interface WatchedLog {
  readonly workerId: string;
  readonly path: string;
  sizeBytes: number;
  cutBytes: number;
  /** The current check. The next one waits for it, so that no two cut the same file. */
  check: Promise<void>;
  /** True: the last check failed, and the log says so once. */
  failing: boolean;
  /** True: the file system does not answer. No new check starts, because each would block one of Node's few threads. */
  hangs: boolean;
}

export interface CutRule {
  readonly sizes: LogSizes;
  /** A log is cut when it is longer than this many times its capped size. */
  readonly slack: number;
}

export class LogWatcher {
  readonly #log: Log;
  readonly #trimmer: TrimClient;
  readonly #running = new Set<Promise<void>>();

  constructor(log: Log, trimmer = new TrimClient()) {
    this.#log = log;
    this.#trimmer = trimmer;
  }

  /** The growth in bytes since the last check. Never rejects, and resolves within the bound for a folder. */
  check(watched: WatchedLog, rule: CutRule): Promise<number> {
    const fallback = () => {
      watched.hangs = true;
      this.#failed(watched, `not within ${WORKERS.folderMs} ms`);
      return 0;
    };
    return pTimeout(this.#check(watched, rule), { milliseconds: WORKERS.folderMs, fallback });
  }

  /** Waits for the current checks: each may still ask for a cut, which a closed thread would not answer. */
  async close(): Promise<void> {
    const milliseconds = WORKERS.folderMs;
    await pTimeout(Promise.all(this.#running), { milliseconds, fallback: () => undefined });
    await this.#trimmer.close();
  }

  async #check(watched: WatchedLog, rule: CutRule): Promise<number> {
    let grownBytes = 0;
    const check = watched.check.then(async () => {
      try {
        grownBytes = await this.#cap(watched, rule);
        watched.failing = false;
      } catch (error) {
        this.#failed(watched, messageOf(error));
      }
    });
    watched.check = check;
    this.#running.add(check);
    await check;
    this.#running.delete(check);
    watched.hangs = false;
    return grownBytes;
  }

  #failed(watched: WatchedLog, error: string): void {
    if (!watched.failing)
      this.#log.warn(
        { worker: watched.workerId, error },
        'the log of a worker could not be cut; the next check tries again',
      );
    watched.failing = true;
  }

  async #cap(watched: WatchedLog, { sizes, slack }: CutRule): Promise<number> {
    const { path, cutBytes: cutBefore } = watched;
    const { size } = await stat(path);
    const grownBytes = size - watched.sizeBytes;
    const due = size > slack * cappedBytes(sizes);
    if (due) watched.cutBytes = await this.#trimmer.trim({ path, sizes, cutBefore });
    watched.sizeBytes = due ? cappedBytes(sizes) : size;
    return grownBytes;
  }
}
