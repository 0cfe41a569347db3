/** Lines about workers, in their own logs or in curfew's. An agent that repeats a refused call endlessly must not flood a log. */
import type { WorkerId } from '../../../core/ids.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';

interface Window {
  readonly untilMs: number;
  lines: number;
  dropped: number;
}

export class BoundedNotes {
  readonly #write: (id: WorkerId, line: string) => void;
  readonly #windows = new Map<WorkerId, Window>();

  constructor(write: (id: WorkerId, line: string) => void) {
    this.#write = write;
  }

  /** The first line after a window names how many lines the window dropped. */
  add(id: WorkerId, line: string): void {
    const window = this.#windowOf(id);
    if (window.lines >= STAND_IN.notes) {
      window.dropped += 1;
      return;
    }
    window.lines += 1;
    this.#write(id, line);
  }

  #windowOf(id: WorkerId): Window {
    const nowMs = performance.now();
    const current = this.#windows.get(id);
    if (current !== undefined && nowMs < current.untilMs) return current;
    if (current !== undefined && current.dropped > 0)
      this.#write(id, `${current.dropped} more lines about refused calls are not in this log`);
    this.#forgetOld(nowMs);
    const window = { untilMs: nowMs + STAND_IN.notesMs, lines: 0, dropped: 0 };
    this.#windows.set(id, window);
    return window;
  }

  #forgetOld(nowMs: number): void {
    for (const [id, { untilMs }] of this.#windows) if (untilMs <= nowMs) this.#windows.delete(id);
  }
}
