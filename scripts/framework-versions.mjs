/**
 * The versions of LiveKit's frameworks with which the conformance suite runs, and their installation into .cache/.
 * Plain JavaScript for Node 20.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensurePythonAgents, findPythonAgents } from './python-agents.mjs';

/** Python: the newest patch of each minor. The last one is the version of the other tests. */
export const PYTHON_VERSIONS = ['1.2.18', '1.3.12', '1.4.6', '1.5.17', '1.6.10', '1.7.1', '1.8.9'];
/** JavaScript: the newest patch of each minor. The last one is the version of the other tests. */
export const JAVASCRIPT_VERSIONS = [
  '1.0.51',
  '1.1.0',
  '1.2.8',
  '1.3.0',
  '1.4.11',
  '1.5.5',
  '1.6.4',
  '1.7.1',
  '1.8.1',
  '1.9.0',
];

/** The oldest version of each, which `npm test` plays, too. */
export const OLDEST = [`py-${PYTHON_VERSIONS[0]}`, `js-${JAVASCRIPT_VERSIONS[0]}`];
/** Below the matrix. A test tries that it never registers at LiveKit itself. */
export const BELOW = 'py-1.0.23';

/** httpx: older versions import it, and no package that they name brings it any more. uvloop: for the calls in its loop. */
const BESIDE = ['uvloop==0.23.0', 'httpx<1'];
const PIP = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:'];
const NEWEST_PYTHON = ['-m', 'pip', 'index', 'versions', 'livekit-agents', '--disable-pip-version-check'];
const NEWEST_JAVASCRIPT = ['npm', 'view', '@livekit/agents', 'version'];
/** The other tests use this version, too. */
const TESTED_PYTHON = `py-${PYTHON_VERSIONS.at(-1)}`;
const INSTALL_MS = 10 * 60_000;
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const FOLDER = join(ROOT, '.cache', 'conformance');

/**
 * @param {string} version as in `py-1.8.9` or `js-1.9.0`
 *
 * @returns {string | null} Python: the interpreter. JavaScript: the folder with node_modules. null: not installed.
 */
export function findFramework(version) {
  if (version === TESTED_PYTHON) return findPythonAgents();
  if (version === `js-${JAVASCRIPT_VERSIONS.at(-1)}`) return ROOT;
  const folder = join(FOLDER, version);
  if (!existsSync(join(folder, '.complete'))) return null;
  return version.startsWith('py-') ? join(folder, 'bin', 'python') : folder;
}

/**
 * Installs a version if it is missing. Rejects when the installation fails.
 *
 * @param {string} version as in `py-1.8.9` or `js-1.9.0`
 * @param {(text: string) => void} onProgress
 *
 * @returns {Promise<string>} what findFramework finds
 */
export async function ensureFramework(version, onProgress) {
  if (version === TESTED_PYTHON) {
    const python = await ensurePythonAgents(onProgress);
    if (!hasBeside(python)) await run(python, [...PIP, ...BESIDE]);
    return python;
  }
  const found = findFramework(version);
  if (found !== null) return found;
  onProgress(`installing ${version} into .cache/conformance, once`);
  const folder = join(FOLDER, version);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const number = version.slice('py-'.length);
  if (version.startsWith('py-')) await installPython(folder, number);
  else await installJavaScript(folder, number);
  writeFileSync(join(folder, '.complete'), '');
  const installed = findFramework(version);
  if (installed === null) throw new Error(`${version} is not where it was installed: ${folder}`);
  return installed;
}

/** @param {string} python */
function hasBeside(python) {
  return spawnSync(python, ['-c', 'import httpx, uvloop'], { stdio: 'ignore' }).status === 0;
}

/** @param {string} folder @param {string} number */
async function installPython(folder, number) {
  const python = join(folder, 'bin', 'python');
  await run('python3', ['-m', 'venv', folder]);
  await run(python, [...PIP, `livekit-agents==${number}`, ...BESIDE]);
}

/** @param {string} folder @param {string} number */
async function installJavaScript(folder, number) {
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  const flags = ['--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts'];
  await run('npm', [
    'install',
    ...flags,
    '--prefix',
    folder,
    `@livekit/agents@${number}`,
    'livekit-server-sdk@2',
  ]);
}

/**
 * The newest version that the registry of pip or npm has, as in `py-1.8.9`. Each asks the registry that its own settings name.
 *
 * @param {'py' | 'js'} framework
 */
export async function newestFramework(framework) {
  const ask = framework === 'py' ? ['python3', ...NEWEST_PYTHON] : NEWEST_JAVASCRIPT;
  const [command = '', ...args] = ask;
  const { code, output } = await capture(command, args);
  const version = /^(?:livekit-agents \()?(\d+\.\d+\.\d+)\)?$/m.exec(output)?.[1];
  if (code === 0 && version !== undefined) return `${framework}-${version}`;
  throw new Error(
    `${ask.join(' ')} ended with ${code} and named no version. Check the network and try again.`,
  );
}

/** @param {string} command @param {string[]} args */
async function capture(command, args) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 2], timeout: INSTALL_MS });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { code, output };
}

/** @param {string} command @param {string[]} args */
async function run(command, args) {
  const child = spawn(command, args, { stdio: ['ignore', 2, 2], timeout: INSTALL_MS });
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  if (code !== 0)
    throw new Error(
      `${command} ${args.slice(-2).join(' ')} ended with ${code}. Check the network and try again.`,
    );
}
