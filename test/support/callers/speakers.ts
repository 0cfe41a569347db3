/** Callers that say a tone and hear what is answered, in a process of their own. */

import { until } from '../lib/wait.ts';
import type { LiveKit } from '../livekit/livekit-server.ts';
import { CallersProcess } from './callers-process.ts';

const ANSWER_MS = 120_000;
const AGAIN_MS = 5000;

export class Speakers {
  readonly #process = new CallersProcess('speaker.mjs');
  readonly #livekit: LiveKit;

  constructor(livekit: LiveKit) {
    this.#livekit = livekit;
  }

  async join(room: string): Promise<void> {
    const token = await this.#livekit.token(room, { identity: 'caller' });
    await this.#process.do({ do: 'join', id: room, url: this.#livekit.url, token }, 'joined');
  }

  /** Says a tone; does not wait for an answer. */
  async speak(room: string, hertz: number): Promise<void> {
    await this.#process.do({ do: 'speak', id: room, hertz, seconds: 1 }, 'speaking');
  }

  /** Says it until somebody answers. */
  async converse(room: string, hertz: number): Promise<void> {
    const from = this.#process.said.length;
    await this.speakUntil(room, hertz, () =>
      this.#process.said.slice(from).some((one) => one.id === room && one.event === 'heard'),
    );
  }

  /** Says it, and again while it is not so: who joined a moment ago may not listen yet, and who speaks may not hear. */
  async speakUntil(room: string, hertz: number, isSo: () => boolean | Promise<boolean>): Promise<void> {
    let saidMs = Number.NEGATIVE_INFINITY;
    await until(
      `${hertz} Hz are answered in ${room}`,
      async () => {
        if (await isSo()) return true;
        if (performance.now() - saidMs > AGAIN_MS) {
          saidMs = performance.now();
          await this.speak(room, hertz);
        }
        return false;
      },
      ANSWER_MS,
    );
  }

  leave(room: string): Promise<void> {
    return this.#process.do({ do: 'leave', id: room }, 'left');
  }

  close(): void {
    this.#process.kill();
  }
}
