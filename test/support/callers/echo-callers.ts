/** Callers that speak and measure the silence of what comes back, in a process of their own. */

import { until } from '../lib/wait.ts';
import type { LiveKit } from '../livekit/livekit-server.ts';
import { CallersProcess } from './callers-process.ts';

export class EchoCallers {
  readonly #process = new CallersProcess('echo-caller.mjs');
  readonly #livekit: LiveKit;
  #asked = 0;

  constructor(livekit: LiveKit) {
    this.#livekit = livekit;
  }

  /** Resolves when it hears itself. */
  async call(room: string): Promise<void> {
    const token = await this.#livekit.token(room, { identity: 'caller' });
    this.#process.write({ do: 'join', id: room, url: this.#livekit.url, token });
    await until(
      `${room} hears itself`,
      () => this.#process.said.find((one) => one.id === room && one.event === 'heard'),
      60_000,
    );
  }

  /** The longest silence of each call since the last report, in milliseconds. */
  async gaps(): Promise<Record<string, number>> {
    const id = `report ${++this.#asked}`;
    this.#process.write({ do: 'report', id });
    const said = await until('a report', () => this.#process.said.find((one) => one.id === id), 20_000);
    return said.gaps ?? {};
  }

  close(): void {
    this.#process.kill();
  }
}
