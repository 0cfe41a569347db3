/** Builds the bundle when sources have changed. The tests start the bundle, as an installation does. It also starts in half the time. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export default function build(): void {
  const setup = fileURLToPath(new URL('../../../scripts/setup.mjs', import.meta.url));
  const { status } = spawnSync(process.execPath, [setup, 'build'], { stdio: 'inherit' });
  if (status !== 0) throw new Error('the build failed: see above');
}
