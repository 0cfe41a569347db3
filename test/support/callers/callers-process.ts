/** A process with callers in it, told what to do and telling what happens, one JSON object a line. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../daemon/daemon.ts';
import { until } from '../lib/wait.ts';

/** A loaded machine takes its time for a hundred peer connections. */
const DONE_MS = 60_000;
const COMPLAINT_CHARS = 2000;

interface Said {
  readonly id: string;
  readonly event: string;
  readonly error?: string;
  readonly gaps?: Record<string, number>;
}

export class CallersProcess {
  readonly #child: ChildProcess;
  readonly said: Said[] = [];
  #complaint = '';
  /** How it ended; null: it runs. */
  #end: string | null = null;

  /** `fixture`: a file of test/fixtures. */
  constructor(fixture: string) {
    this.#child = spawn(process.execPath, [join(ROOT, 'test/fixtures', fixture)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#complaint = (this.#complaint + chunk.toString()).slice(-COMPLAINT_CHARS);
    });
    this.#child.once('exit', (code, signal) => {
      this.#end = `its process ended with ${signal ?? code}: ${this.#complaint}`;
    });
    let rest = '';
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('{"id"')) this.said.push(JSON.parse(line) as Said);
    });
    process.once('exit', this.#killNow);
  }

  write(command: object): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  /** Resolves when it says that it was done; rejects with what failed. */
  async do(command: { do: string; id: string } & Record<string, unknown>, wanted: string): Promise<void> {
    const from = this.said.length;
    this.write(command);
    const done = await until(
      `${command.do} of ${command.id}`,
      () => {
        const heard = this.said
          .slice(from)
          .find((one) => one.id === command.id && (one.event === wanted || one.event === 'failed'));
        return heard ?? (this.#end === null ? null : { event: 'failed', error: this.#end });
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
