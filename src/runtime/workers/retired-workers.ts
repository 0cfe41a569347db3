/** Ends workers that no session has: TERM, then KILL. Each stays here until its processes are gone. */
import type { WorkerId } from '../../core/ids.ts';
import type { Profile } from '../../core/model/profile.ts';
import { terminateSteps } from '../../core/teardown/steps.ts';
import { WARM } from '../../lib/limits/worker-limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Workers } from '../../ports/workers.ts';

export class RetiredWorkers {
  readonly #clock: Clock;
  readonly #workers: Workers;
  readonly #ids = new Set<WorkerId>();
  /** Workers that got TERM before their end. */
  readonly #asked = new Set<WorkerId>();

  constructor(clock: Clock, workers: Workers) {
    this.#clock = clock;
    this.#workers = workers;
  }

  has(id: WorkerId): boolean {
    return this.#ids.has(id);
  }

  /** Asks the worker to end. */
  retire(id: WorkerId, profile: Profile | null): void {
    this.#ids.add(id);
    this.#asked.add(id);
    const { term, rest, kill } = terminateSteps({ termMs: WARM.termMs, killMs: WARM.killMs });
    this.#workers.signal(id, term.signal, profile?.ladder.signal === 'all' ? undefined : 'main');
    const restAtMs = this.#nowMs() + term.boundMs;
    const ifThere = (signal: 'SIGTERM' | 'SIGKILL') => () => {
      if (this.#ids.has(id)) this.#workers.signal(id, signal);
    };
    this.#clock.at(restAtMs, ifThere(rest.signal));
    this.#clock.at(restAtMs + rest.boundMs, ifThere(kill.signal));
  }

  /** The worker ended without a request. Searches the processes that it left. */
  died(id: WorkerId): void {
    this.#ids.add(id);
    this.#workers.reap(id);
  }

  /** true: no process is left. Processes that a retired worker left have their own time, and KILL follows. */
  tree(id: WorkerId, left: number): boolean {
    if (left > 0) {
      this.#workers.signal(id, this.#asked.has(id) ? 'SIGTERM' : 'SIGKILL');
      return false;
    }
    this.forget(id);
    this.#workers.forget(id);
    return true;
  }

  /** true: the worker was retired before it started. */
  forget(id: WorkerId): boolean {
    this.#asked.delete(id);
    return this.#ids.delete(id);
  }

  /** Resolves when the trees of all retired workers are gone, or at the bound. */
  async waitForAll(untilMs: number): Promise<void> {
    while (this.#ids.size > 0 && this.#nowMs() < untilMs)
      await new Promise<void>((resolve) => this.#clock.at(this.#nowMs() + WARM.checkMs, resolve));
  }

  #nowMs(): number {
    return this.#clock.now().bootMs;
  }
}
