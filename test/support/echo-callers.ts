/** Callers that speak and measure the silence of what comes back, in a process of their own. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './daemon.ts';
import type { LiveKit } from './livekit.ts';
import { until } from './wait.ts';

interface Said {
  readonly id: string;
  readonly event: string;
  readonly gaps?: Record<string, number>;
}

export class EchoCallers {
  readonly #child: ChildProcess;
  readonly #livekit: LiveKit;
  readonly #said: Said[] = [];
  #asked = 0;

  constructor(livekit: LiveKit) {
    this.#livekit = livekit;
    this.#child = spawn(process.execPath, [join(ROOT, 'test/fixtures/echo-caller.mjs')], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    let rest = '';
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('{"id"')) this.#said.push(JSON.parse(line) as Said);
    });
  }

  /** Resolves when it hears itself. */
  async call(room: string): Promise<void> {
    const token = await this.#livekit.token(room, { identity: 'caller' });
    this.#write({ do: 'join', id: room, url: this.#livekit.url, token });
    await until(
      `${room} hears itself`,
      () => this.#said.find((one) => one.id === room && one.event === 'heard'),
      60_000,
    );
  }

  /** The longest silence of each call since the last report, in milliseconds. */
  async gaps(): Promise<Record<string, number>> {
    const id = `report ${++this.#asked}`;
    this.#write({ do: 'report', id });
    const said = await until('a report', () => this.#said.find((one) => one.id === id), 20_000);
    return said.gaps ?? {};
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }

  #write(command: object): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
  }
}
