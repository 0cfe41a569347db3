/** Callers that say a tone and hear what is answered, in a process of their own. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './daemon.ts';
import type { LiveKit } from './livekit.ts';
import { until } from './wait.ts';

const ANSWER_MS = 60_000;

interface Said {
  readonly id: string;
  readonly event: string;
  readonly error?: string;
}

export class Speakers {
  readonly #child: ChildProcess;
  readonly #livekit: LiveKit;
  readonly #said: Said[] = [];

  constructor(livekit: LiveKit) {
    this.#livekit = livekit;
    this.#child = spawn(process.execPath, [join(ROOT, 'test/fixtures/speaker.mjs')], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    let rest = '';
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('{"id"')) this.#said.push(JSON.parse(line) as Said);
    });
    process.once('exit', this.#killNow);
  }

  async join(room: string): Promise<void> {
    const token = await this.#livekit.token(room, { identity: 'caller' });
    await this.#do({ do: 'join', id: room, url: this.#livekit.url, token }, 'joined');
  }

  /** Says a tone; does not wait for an answer. */
  async speak(room: string, hertz: number): Promise<void> {
    await this.#do({ do: 'speak', id: room, hertz, seconds: 1 }, 'speaking');
  }

  /** Says it, and again while nobody answers: who joined a moment ago may not listen yet. */
  async converse(room: string, hertz: number): Promise<void> {
    const from = this.#said.length;
    const heard = () => this.#said.slice(from).some((one) => one.id === room && one.event === 'heard');
    let saidMs = Number.NEGATIVE_INFINITY;
    await until(
      `an answer in ${room}`,
      async () => {
        if (!heard() && performance.now() - saidMs > 5000) {
          saidMs = performance.now();
          await this.speak(room, hertz);
        }
        return heard();
      },
      ANSWER_MS,
    );
  }

  leave(room: string): Promise<void> {
    return this.#do({ do: 'leave', id: room }, 'left');
  }

  close(): void {
    this.#child.kill('SIGKILL');
    process.removeListener('exit', this.#killNow);
  }

  async #do(command: { do: string; id: string } & Record<string, unknown>, wanted: string): Promise<void> {
    const from = this.#said.length;
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    const done = await until(
      `${command.do} of ${command.id}`,
      () =>
        this.#said
          .slice(from)
          .find((one) => one.id === command.id && (one.event === wanted || one.event === 'failed')),
      ANSWER_MS,
    );
    if (done.event === 'failed') throw new Error(`${command.do} of ${command.id}: ${done.error}`);
  }

  readonly #killNow = () => {
    this.#child.kill('SIGKILL');
  };
}
