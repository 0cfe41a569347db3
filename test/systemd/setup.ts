/** Runs once for all tests in a real systemd: the project's own installer installs the build into a new folder. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { ensureDebianTree } from '../../scripts/debian-tree.mjs';
import { ROOT } from '../support/daemon/daemon.ts';
import { keep } from '../support/processes/keeper.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The path of a Debian tree. */
    debian: string;
    /** The path of the installer's files. The machine lays them over the Debian tree. */
    installed: string;
    /** The path of the installed build. */
    dist: string;
  }
}

export default function setup(project: TestProject): () => Promise<void> {
  const debian = ensureDebianTree((text) => void process.stderr.write(`curfew: ${text}\n`));
  const dir = mkdtempSync(join(tmpdir(), 'curfew-installed-'));
  const keeper = keep('rm -rf "$1"', [dir]);
  const [dist, installed] = [join(dir, 'dist'), join(dir, 'root')];
  run([join(ROOT, 'node_modules/rolldown/bin/cli.mjs'), '--config', 'rolldown.config.js', '--dir', dist]);
  run([join(ROOT, 'scripts/install-systemd.mjs'), '--root', installed, '--dist', dist]);
  project.provide('debian', debian);
  project.provide('installed', installed);
  project.provide('dist', dist);
  return () => keeper.end();
}

function run(args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: 120_000,
  });
  if (status !== 0) throw new Error(`${args[0]} ended with ${status}: ${stdout}${stderr}`);
}
