/** LiveKit's Python agent framework for the tests: found, or installed once into .cache/. Plain JavaScript for Node 20. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const VERSION = '1.8.9';
const INSTALL_MS = 10 * 60_000;
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const FOLDER = join(ROOT, '.cache', 'python-agents', VERSION);
const PYTHON = join(FOLDER, 'bin', 'python');
/** Written last: without it the installation was broken off. */
const COMPLETE = join(FOLDER, '.complete');

/** @returns {string | null} the interpreter that can import livekit.agents */
export function findPythonAgents() {
  return existsSync(COMPLETE) && existsSync(PYTHON) ? PYTHON : null;
}

/**
 * Installs it where it is not there. Rejects with what to do.
 * @param {(text: string) => void} onProgress
 * @returns {Promise<string>} the interpreter
 */
export async function ensurePythonAgents(onProgress) {
  const found = findPythonAgents();
  if (found !== null) return found;
  const hasPython = spawnSync('python3', ['-c', 'import sys, venv; sys.exit(sys.version_info < (3, 10))']);
  if (hasPython.status !== 0)
    throw new Error('install Python 3.10 or newer as python3, with its venv module, and run npm test again');
  onProgress(`installing livekit-agents ${VERSION} into .cache, once (a minute or two)`);
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(dirname(FOLDER), { recursive: true });
  await run('python3', ['-m', 'venv', FOLDER]);
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:'];
  await run(PYTHON, [...pip, `livekit-agents==${VERSION}`]);
  writeFileSync(COMPLETE, '');
  return PYTHON;
}

/** @param {string} command @param {string[]} args */
async function run(command, args) {
  const child = spawn(command, args, { stdio: ['ignore', 2, 2], timeout: INSTALL_MS });
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  if (code === 0) return;
  throw new Error(
    `${[command, ...args.slice(0, 3)].join(' ')} ended with ${code}: is there a network? Else: python3 -m venv ${FOLDER}, install livekit-agents==${VERSION} there, touch ${COMPLETE}`,
  );
}
