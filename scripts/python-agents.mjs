/** Finds the Python agent frameworks for the tests, or installs them once into .cache/. Plain JavaScript for Node 20. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const LIVEKIT = 'livekit-agents==1.8.9';
/**
 * Pipecat, and the packages that its LiveKit transport imports and livekit-agents does not install.
 * Without its other dependencies, which are 750 MB of models and services.
 */
const PIPECAT = [
  'pipecat-ai==1.14.0',
  'loguru==0.7.3',
  'loudness==0.2.0',
  'pillow==13.0.0',
  'sentencex==1.0.32',
  'soxr==1.1.0',
  'tenacity==9.2.1',
  'wait_for2==0.4.1',
  'websockets==17.4',
];
const INSTALL_MS = 10 * 60_000;
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const FOLDER = join(ROOT, '.cache', 'python-agents', [LIVEKIT, PIPECAT[0]].join('-').replaceAll('==', '-'));
const PYTHON = join(FOLDER, 'bin', 'python');
/** The last file of an installation. If it is missing, the installation is not complete. */
const COMPLETE = join(FOLDER, '.complete');

/** @returns {string | null} the interpreter with livekit.agents and pipecat. null: they are not installed. */
export function findPythonAgents() {
  return existsSync(COMPLETE) && existsSync(PYTHON) ? PYTHON : null;
}

/**
 * Installs the frameworks if they are missing. Rejects with an error that says what to do.
 *
 * @param {(text: string) => void} onProgress
 *
 * @returns {Promise<string>} the interpreter
 */
export async function ensurePythonAgents(onProgress) {
  const found = findPythonAgents();
  if (found !== null) return found;
  const hasPython = spawnSync('python3', ['-c', 'import sys, venv; sys.exit(sys.version_info < (3, 10))']);
  if (hasPython.status !== 0)
    throw new Error('install Python 3.10 or newer as python3, with its venv module, and run npm test again');
  onProgress(`installing ${LIVEKIT} and ${PIPECAT[0]} into .cache, once (a minute or two)`);
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(dirname(FOLDER), { recursive: true });
  await run('python3', ['-m', 'venv', FOLDER]);
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:'];
  await run(PYTHON, [...pip, LIVEKIT]);
  await run(PYTHON, [...pip, '--no-deps', ...PIPECAT]);
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
    [
      `${[command, ...args.slice(0, 3)].join(' ')} ended with ${code}. Check the network.`,
      `Without a network: run python3 -m venv ${FOLDER} and install ${LIVEKIT} there.`,
      `Then install ${PIPECAT.join(' ')} with --no-deps, and touch ${COMPLETE}.`,
    ].join(' '),
  );
}
