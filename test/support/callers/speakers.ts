/** Callers that play a tone and listen for an answer, in their own process. */
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

  /** Plays a tone without a wait for an answer. */
  async speak(room: string, hertz: number): Promise<void> {
    await this.#process.do({ do: 'speak', id: room, hertz, seconds: 1 }, 'speaking');
  }

  /** Plays the tone until the caller hears an answer. */
  async converse(room: string, hertz: number): Promise<void> {
    const from = this.#process.events.length;
    await this.speakUntil(room, hertz, () =>
      this.#process.events.slice(from).some((one) => one.id === room && one.event === 'heard'),
    );
  }

  /** Plays the tone again until the condition holds. Because: a new participant may not listen yet, and a speaking agent may not hear. */
  async speakUntil(room: string, hertz: number, isSo: () => boolean | Promise<boolean>): Promise<void> {
    let spokenMs = Number.NEGATIVE_INFINITY;
    await until(
      `${hertz} Hz are answered in ${room}`,
      async () => {
        if (await isSo()) return true;
        if (performance.now() - spokenMs > AGAIN_MS) {
          spokenMs = performance.now();
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
