/** What is logged of control lines that were refused: a worker that sends nothing else must not fill our log. */
import type { WorkerId } from '../../core/ids.ts';
import { CHANNEL } from '../../lib/limits/worker-limits.ts';
import type { Log } from '../../ports/log.ts';
import type { Malformed } from './control-codec.ts';

interface Noted {
  readonly sinceMs: number;
  /** Since then, and not logged. */
  more: number;
}

export class Refusals {
  readonly #log: Log;
  readonly #nowMs: () => number;
  readonly #noted = new Map<WorkerId | null, Noted>();

  constructor(log: Log, nowMs: () => number = () => performance.now()) {
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /** The first of a worker at once, then one line in a while with how many there were. Null: nobody that proved who it is. */
  note(id: WorkerId | null, error: Malformed): void {
    const nowMs = this.#nowMs();
    const known = this.#noted.get(id);
    if (known !== undefined && nowMs - known.sinceMs < CHANNEL.refusalLogMs) {
      known.more += 1;
      return;
    }
    this.#forgetOld(nowMs, id);
    this.#noted.set(id, { sinceMs: nowMs, more: 0 });
    this.#tell(id, error, known?.more ?? 0);
  }

  #tell(id: WorkerId | null, { code, field, isUnknownField }: Malformed, more: number): void {
    this.#log.warn(
      { worker: id, code, field: isUnknownField === true ? 'unknown' : field, ...(more > 0 && { more }) },
      'a control line was refused and its connection closed',
    );
  }

  #forgetOld(nowMs: number, except: WorkerId | null): void {
    for (const [id, { sinceMs, more }] of this.#noted) {
      if (id === except || nowMs - sinceMs < CHANNEL.refusalLogMs) continue;
      this.#noted.delete(id);
      if (more > 0) this.#log.warn({ worker: id, more }, 'more control lines were refused');
    }
  }
}
