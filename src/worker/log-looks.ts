/** Looks at the logs of workers, one at a time at each, and has those cut that are due. */
import { stat } from 'node:fs/promises';
import pTimeout from 'p-timeout';
import { messageOf } from '../errors.ts';
import { WORKERS } from '../limits.ts';
import type { Log } from '../ports.ts';
import type { LogSizes } from './trim.ts';
import { cappedBytes } from './trim.ts';
import { Trimmer } from './trimmer.ts';

export interface Watched {
  readonly workerId: string;
  readonly path: string;
  sizeBytes: number;
  cutBytes: number;
  /** The look under way, so that no two cut the same file. */
  look: Promise<void>;
  /** What failed is said once, until it works again. */
  failing: boolean;
}

/** Cut only at so many times its size. */
export interface Allowed {
  readonly sizes: LogSizes;
  readonly slack: number;
}

export class LogLooks {
  readonly #log: Log;
  readonly #trimmer = new Trimmer();
  readonly #underWay = new Set<Promise<void>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** By how much it grew; never rejects. */
  async look(watched: Watched, allowed: Allowed): Promise<number> {
    let grownBytes = 0;
    const looked = watched.look.then(async () => {
      try {
        grownBytes = await this.#cap(watched, allowed);
        watched.failing = false;
      } catch (error) {
        if (!watched.failing)
          this.#log.warn(
            { worker: watched.workerId, error: messageOf(error) },
            'the log of a worker could not be cut',
          );
        watched.failing = true;
      }
    });
    watched.look = looked;
    this.#underWay.add(looked);
    await looked;
    this.#underWay.delete(looked);
    return grownBytes;
  }

  /** A look that is under way may still ask for a cut, which a thread that closes would not answer. */
  close(): void {
    const milliseconds = WORKERS.folderMs;
    const settled = pTimeout(Promise.all(this.#underWay), { milliseconds, fallback: () => undefined });
    void settled.then(() => this.#trimmer.close());
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
