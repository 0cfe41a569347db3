/** A curfew in a folder of the test. The installer of each version puts the files there, as on an operator's host. */
import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const TOOL_MS = 60_000;
const run = promisify(execFile);

export class Installation {
  readonly #root: string;
  readonly #node: string;

  constructor(dir: string) {
    this.#root = join(dir, 'host');
    this.#node = join(dir, 'node');
    // Because: the installer copies the Node binary of 120 MB. The tests run curfew on their own Node.
    writeFileSync(this.#node, '#!/bin/sh\nexec false\n');
    chmodSync(this.#node, 0o755);
  }

  get main(): string {
    return join(this.#root, 'opt/curfew/dist/main.js');
  }

  get kits(): string {
    return join(this.#root, 'opt/curfew/kits');
  }

  /** Installs the build in `source`, in place of an older one. */
  install(source: string): void {
    const installer = join(source, 'scripts/install-systemd.mjs');
    execFileSync(process.execPath, [installer, '--root', this.#root, '--node', this.#node], {
      timeout: TOOL_MS,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }

  /** The output of a command. */
  async run(socket: string, ...args: readonly string[]): Promise<string> {
    const { stdout } = await run(process.execPath, [this.main, '--socket', socket, ...args], {
      timeout: TOOL_MS,
    });
    return stdout;
  }
}
