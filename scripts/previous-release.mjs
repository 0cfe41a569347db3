/** The previous release, for the test of an upgrade: found, or built once into .cache/ from the git history. Plain JavaScript for Node 20. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The release that people run. The last step of a release writes its own version and commit here. */
export const PREVIOUS = { version: '0.1.0', commit: '7849e9a4e32e01fbe99c80f97f575445de27a81b' };

const GIT_MS = 60_000;
const BUILD_MS = 2 * 60_000;
const INSTALL_MS = 10 * 60_000;
const SHORT = PREVIOUS.commit.slice(0, 7);
const NAME = `curfew ${PREVIOUS.version} (commit ${SHORT})`;
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const MODULES = join(ROOT, 'node_modules');
const FOLDER = join(ROOT, '.cache', 'previous', PREVIOUS.commit);

/** @returns {string | null} the folder with its sources and its dist/ */
export function findPrevious() {
  return existsSync(join(FOLDER, 'dist', 'main.js')) ? FOLDER : null;
}

/**
 * Builds the release where it is not there. Throws with what to do.
 * @param {(text: string) => void} onProgress
 * @returns {string} its folder
 */
export function ensurePrevious(onProgress) {
  const found = findPrevious();
  if (found !== null) return found;
  checkHistory();
  onProgress(`building ${NAME} from the git history, once`);
  const draft = `${FOLDER}.${process.pid}`;
  try {
    mkdirSync(draft, { recursive: true });
    unpack(draft);
    install(draft);
    build(draft);
    // Race: another process may have built the same release meanwhile.
    if (findPrevious() === null) renameSync(draft, FOLDER);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  return FOLDER;
}

function checkHistory() {
  const args = ['cat-file', '-e', `${PREVIOUS.commit}^{commit}`];
  const { status, stderr, error } = spawnSync('git', args, { cwd: ROOT, encoding: 'utf8', timeout: GIT_MS });
  if (status === 0) return;
  const why = error?.message ?? stderr.trim().split('\n')[0];
  throw new Error(
    `the git history here has no ${NAME} (${why}): use a full clone, or run git fetch --unshallow`,
  );
}

/** @param {string} draft */
function unpack(draft) {
  const archive = join(draft, '.archive.tar');
  run('git', ['archive', '--format=tar', '-o', archive, PREVIOUS.commit], ROOT, GIT_MS);
  run('tar', ['-xf', archive], draft, GIT_MS);
  rmSync(archive);
}

/** The packages of this tree serve as long as package-lock.json has not changed since. */
function install(/** @type {string} */ draft) {
  const lockIn = (/** @type {string} */ folder) => readFileSync(join(folder, 'package-lock.json'), 'utf8');
  if (lockIn(draft) === lockIn(ROOT)) return symlinkSync(MODULES, join(draft, 'node_modules'));
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  run('npm', ['ci', ...options], draft, INSTALL_MS);
}

/** The bundle holds its packages, so they are removed afterwards. */
function build(/** @type {string} */ draft) {
  const modules = join(draft, 'node_modules');
  const bundler = join(modules, 'rolldown', 'bin', 'cli.mjs');
  const args = [bundler, '--config', 'rolldown.config.js', '--dir', 'dist', '--log-level', 'warn'];
  run(join(MODULES, '.bin', 'node'), args, draft, BUILD_MS);
  rmSync(modules, { recursive: true, force: true });
  writeFileSync(join(draft, 'dist', '.commit'), SHORT);
}

/** @param {string} command @param {string[]} args @param {string} cwd @param {number} boundMs */
function run(command, args, cwd, boundMs) {
  const { status, signal, error, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: boundMs,
    killSignal: 'SIGKILL',
  });
  if (status === 0) return;
  const how = error?.message ?? `ended with ${signal ?? status}`;
  throw new Error(`${NAME} could not be built: ${command} ${args[0]}: ${how}\n${stderr ?? ''}`.trim());
}
