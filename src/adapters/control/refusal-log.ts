/** Logs refused control lines at a bounded rate, so that a faulty worker does not fill the log. */
import type { WorkerId } from '../../core/ids.ts';
import { CHANNEL } from '../../lib/limits/worker-limits.ts';
import type { Log } from '../../ports/log.ts';
import type { Malformed } from './control-codec.ts';

interface RecentRefusal {
  readonly sinceMs: number;
  /** Refusals since then that were not logged. */
  more: number;
}

export class RefusalLog {
  readonly #log: Log;
  readonly #nowMs: () => number;
  readonly #recent = new Map<WorkerId | null, RecentRefusal>();

  constructor(log: Log, nowMs: () => number = () => performance.now()) {
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /**
   * Logs the first refusal of a worker at once, then one line per interval with the number of further refusals.
   * `id` is `null` for a connection that has not proved its worker.
   */
  add(id: WorkerId | null, error: Malformed): void {
    const nowMs = this.#nowMs();
    const known = this.#recent.get(id);
    if (known !== undefined && nowMs - known.sinceMs < CHANNEL.refusalLogMs) {
      known.more += 1;
      return;
    }
    this.#flushOld(nowMs, id);
    this.#recent.set(id, { sinceMs: nowMs, more: 0 });
    this.#logFirst(id, error, known?.more ?? 0);
  }

  #logFirst(id: WorkerId | null, { code, field, isUnknownField }: Malformed, more: number): void {
    this.#log.warn(
      { worker: id, code, field: isUnknownField === true ? 'unknown' : field, ...(more > 0 && { more }) },
      'a control line was refused and its connection closed',
    );
  }

  #flushOld(nowMs: number, except: WorkerId | null): void {
    for (const [id, { sinceMs, more }] of this.#recent) {
      if (id === except || nowMs - sinceMs < CHANNEL.refusalLogMs) continue;
      this.#recent.delete(id);
      if (more > 0) this.#log.warn({ worker: id, more }, 'more control lines were refused');
    }
  }
}
