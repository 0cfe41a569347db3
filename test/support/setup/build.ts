/** What the tests start is what is installed: the bundle, made anew where the sources have changed. It starts in half the time, too. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export default function build(): void {
  const setup = fileURLToPath(new URL('../../../scripts/setup.mjs', import.meta.url));
  const { status } = spawnSync(process.execPath, [setup, 'build'], { stdio: 'inherit' });
  if (status !== 0) throw new Error('the build failed: see above');
}
