/** Callers that speak and measure the silence in the echo, in their own process. */
import { until } from '../lib/wait.ts';
import type { LiveKit } from '../livekit/livekit-server.ts';
import { CallersProcess } from './callers-process.ts';

export class EchoCallers {
  readonly #process = new CallersProcess('echo-caller.mjs');
  readonly #livekit: LiveKit;
  #reports = 0;

  constructor(livekit: LiveKit) {
    this.#livekit = livekit;
  }

  /** Resolves when the caller hears its own echo. */
  async call(room: string): Promise<void> {
    const token = await this.#livekit.token(room, { identity: 'caller' });
    this.#process.write({ do: 'join', id: room, url: this.#livekit.url, token });
    await until(
      `${room} hears itself`,
      () => this.#process.events.find((one) => one.id === room && one.event === 'heard'),
      60_000,
    );
  }

  /** The longest silence of each call since the last report, in milliseconds. */
  async gaps(): Promise<Record<string, number>> {
    const id = `report ${++this.#reports}`;
    this.#process.write({ do: 'report', id });
    const report = await until('a report', () => this.#process.events.find((one) => one.id === id), 20_000);
    return report.gaps ?? {};
  }

  close(): void {
    this.#process.kill();
  }
}
