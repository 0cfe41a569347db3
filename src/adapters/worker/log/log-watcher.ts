/** Looks at the logs of workers, one at a time at each, and has those cut that are due. */
import { stat } from 'node:fs/promises';
import pTimeout from 'p-timeout';
import { messageOf } from '../../../lib/errors.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import { TrimClient } from './trim-client.ts';
import type { LogSizes } from './trim-log.ts';
import { cappedBytes } from './trim-log.ts';

export interface Watched {
  readonly workerId: string;
  readonly path: string;
  sizeBytes: number;
  cutBytes: number;
  /** The look under way, so that no two cut the same file. */
  look: Promise<void>;
  /** What failed is said once, until it works again. */
  failing: boolean;
  /** It does not answer, and is not asked again until it does: each question would hold one of Node's few threads. */
  hangs: boolean;
}

/** Cut only at so many times its size. */
export interface Allowed {
  readonly sizes: LogSizes;
  readonly slack: number;
}

export class LogWatcher {
  readonly #log: Log;
  readonly #trimmer = new TrimClient();
  readonly #underWay = new Set<Promise<void>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** By how much it grew; never rejects, and holds nobody up. */
  look(watched: Watched, allowed: Allowed): Promise<number> {
    const fallback = () => {
      watched.hangs = true;
      this.#failed(watched, `not within ${WORKERS.folderMs} ms`);
      return 0;
    };
    return pTimeout(this.#look(watched, allowed), { milliseconds: WORKERS.folderMs, fallback });
  }

  /** A look that is under way may still ask for a cut, which a thread that closes would not answer. */
  close(): void {
    const milliseconds = WORKERS.folderMs;
    const settled = pTimeout(Promise.all(this.#underWay), { milliseconds, fallback: () => undefined });
    void settled.then(() => this.#trimmer.close());
  }

  async #look(watched: Watched, allowed: Allowed): Promise<number> {
    let grownBytes = 0;
    const looked = watched.look.then(async () => {
      try {
        grownBytes = await this.#cap(watched, allowed);
        watched.failing = false;
      } catch (error) {
        this.#failed(watched, messageOf(error));
      }
    });
    watched.look = looked;
    this.#underWay.add(looked);
    await looked;
    this.#underWay.delete(looked);
    watched.hangs = false;
    return grownBytes;
  }

  #failed(watched: Watched, error: string): void {
    if (!watched.failing)
      this.#log.warn({ worker: watched.workerId, error }, 'the log of a worker could not be cut');
    watched.failing = true;
  }

  async #cap(watched: Watched, { sizes, slack }: Allowed): Promise<number> {
    const { path, cutBytes: cutBefore } = watched;
    const { size } = await stat(path);
    const grownBytes = size - watched.sizeBytes;
    const due = size > slack * cappedBytes(sizes);
    if (due) watched.cutBytes = await this.#trimmer.trim({ path, sizes, cutBefore });
    watched.sizeBytes = due ? cappedBytes(sizes) : size;
    return grownBytes;
  }
}
