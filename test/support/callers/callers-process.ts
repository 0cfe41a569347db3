/** A process with callers inside. It reads commands and writes events, one JSON object per line. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../daemon/daemon.ts';
import { until } from '../lib/wait.ts';

/** A loaded machine needs long for a hundred peer connections. */
const DONE_MS = 60_000;
const ERROR_CHARS = 2000;

interface CallerEvent {
  readonly id: string;
  readonly event: string;
  readonly error?: string;
  readonly gaps?: Record<string, number>;
}

export class CallersProcess {
  readonly #child: ChildProcess;
  readonly events: CallerEvent[] = [];
  #errorOutput = '';
  /** How the process ended; `null`: it runs. */
  #end: string | null = null;

  /** `fixture` is a file of test/fixtures. */
  constructor(fixture: string) {
    this.#child = spawn(process.execPath, [join(ROOT, 'test/fixtures', fixture)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#errorOutput = (this.#errorOutput + chunk.toString()).slice(-ERROR_CHARS);
    });
    this.#child.once('exit', (code, signal) => {
      this.#end = `its process ended with ${signal ?? code}: ${this.#errorOutput}`;
    });
    let rest = '';
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines)
        if (line.startsWith('{"id"')) this.events.push(JSON.parse(line) as CallerEvent);
    });
    process.once('exit', this.#killNow);
  }

  write(command: object): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  /** Resolves when the process reports the wanted event. Rejects with the failure that the process reports. */
  async do(command: { do: string; id: string } & Record<string, unknown>, wanted: string): Promise<void> {
    const from = this.events.length;
    this.write(command);
    const done = await until(
      `${command.do} of ${command.id}`,
      () => {
        const found = this.events
          .slice(from)
          .find((one) => one.id === command.id && (one.event === wanted || one.event === 'failed'));
        return found ?? (this.#end === null ? null : { event: 'failed', error: this.#end });
      },
      DONE_MS,
    );
    if (done.event === 'failed') throw new Error(`${command.do} of ${command.id}: ${done.error}`);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
    process.removeListener('exit', this.#killNow);
  }

  readonly #killNow = () => {
    this.#child.kill('SIGKILL');
  };
}
