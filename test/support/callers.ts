/** Real participants (rtc-node) in a process of their own, so that they can be killed as a caller's phone can. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { VideoGrant } from 'livekit-server-sdk';
import { ROOT } from './daemon.ts';
import type { LiveKit } from './livekit.ts';
import { until } from './wait.ts';

/** A loaded machine takes its time for a hundred peer connections. */
const JOIN_MS = 60_000;

interface Said {
  readonly id: string;
  readonly event: string;
  readonly error?: string;
}

export interface JoinOptions {
  readonly kind?: string;
  readonly attributes?: Record<string, string>;
  readonly grant?: VideoGrant;
  readonly audio?: boolean;
}

/** One process with any number of callers in it. */
export class Callers {
  readonly #livekit: LiveKit;
  readonly #child: ChildProcess;
  readonly #said: Said[] = [];

  constructor(livekit: LiveKit) {
    this.#livekit = livekit;
    this.#child = spawn(process.execPath, [join(ROOT, 'test/fixtures/caller.mjs')], {
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

  async join(room: string, identity: string, { audio = true, ...who }: JoinOptions = {}): Promise<void> {
    await this.joinWith(room, identity, await this.#livekit.token(room, { identity, ...who }), audio);
  }

  async joinWith(room: string, identity: string, token: string, audio = false): Promise<void> {
    await this.#do({ do: 'join', id: `${room}/${identity}`, url: this.#livekit.url, token, audio }, 'joined');
  }

  leave(room: string, identity: string): Promise<void> {
    return this.#do({ do: 'leave', id: `${room}/${identity}` }, 'left');
  }

  setAttributes(room: string, identity: string, attributes: Record<string, string>): Promise<void> {
    return this.#do({ do: 'attributes', id: `${room}/${identity}`, attributes }, 'attributes');
  }

  /** As when a phone's battery dies: LiveKit hears nothing. */
  kill(): void {
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
      JOIN_MS,
    );
    if (done.event === 'failed') throw new Error(`${command.do} of ${command.id}: ${done.error}`);
  }

  readonly #killNow = () => {
    this.#child.kill('SIGKILL');
  };
}
