/**
 * The first step of `npm start`, `npm test` and the other commands: installs and builds what is missing, then runs the
 * command with the project's own Node.
 * Plain JavaScript for Node 20 without dependencies, because it runs before the packages are installed.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { runChild } from './child.mjs';
import { ensureDebianTree } from './debian-tree.mjs';
import { BELOW, ensureFramework, OLDEST } from './framework-versions.mjs';
import { ensureLiveKitBinary, findLiveKitBinary } from './livekit-binary.mjs';
import { ensurePrevious } from './previous-release.mjs';
import { ensurePythonAgents } from './python-agents.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BIN = join(ROOT, 'node_modules', '.bin');
const NODE = join(BIN, 'node');
const NODE_MAJOR = 24;
const LEAST_NODE_MAJOR = 20;
const INSTALLED = join(ROOT, 'node_modules', '.curfew-installed');
const BUILT = join(ROOT, 'dist', '.built-from');
const INSTALL_MS = 15 * 60_000;
const TOOL_MS = 10 * 60_000;
const LOCK_MS = 30 * 60_000;
const LOCK_CHECK_MS = 200;
const IN_CI = !['', '0', 'false'].includes(process.env.CI ?? '');
const WARNINGS_OFF = '--disable-warning=ExperimentalWarning';
const ENV = { ...process.env, PATH: `${BIN}${delimiter}${process.env.PATH ?? ''}` };

/** @type {string[]} */
const skipped = [];

function say(/** @type {string} */ text) {
  process.stderr.write(`curfew: ${text}\n`);
}

/** @returns {never} */
function fail(/** @type {string} */ text) {
  say(text);
  process.exit(1);
}

/** In CI a missing tool is an error. Elsewhere the end of the run lists what was skipped. */
function skip(/** @type {string} */ what) {
  if (IN_CI) fail(`${what} (CI is set, so no test may be skipped)`);
  skipped.push(what);
}

/** Runs the last step. Its exit code is the exit code of this process. */
async function run(/** @type {string[]} */ args, /** @type {NodeJS.ProcessEnv} */ env = {}) {
  const { code } = await runChild(NODE, args, { cwd: ROOT, env: { ...ENV, ...env } });
  return code;
}

/** Runs a step before the last one. Ends this process when the step fails. */
async function step(
  /** @type {string} */ command,
  /** @type {string[]} */ args,
  /** @type {{ boundMs?: number, stdio?: import('node:child_process').StdioOptions }} */ options = {},
) {
  const { boundMs = TOOL_MS, ...more } = options;
  const begunMs = performance.now();
  const { code, interrupted } = await runChild(command, args, { cwd: ROOT, env: ENV, boundMs, ...more });
  if (code === 0) return;
  const name = [command.replace(`${BIN}/`, ''), ...args.slice(0, 1)].join(' ');
  if (!interrupted && performance.now() - begunMs >= boundMs)
    say(`${name} took longer than ${boundMs / 60_000} minutes and was stopped`);
  else if (!interrupted) say(`${name} ended with ${code}; see the lines above`);
  process.exit(code);
}

/**
 * Runs the work when no other set-up runs in this folder. A person may type `npm run call` while `npm start` installs.
 * The lock is an abstract socket, which the kernel frees when the process ends.
 */
async function alone(/** @type {() => Promise<void>} */ work) {
  const name = `\0curfew-setup-${createHash('sha256').update(ROOT).digest('hex').slice(0, 32)}`;
  let waited = false;
  for (const untilMs = performance.now() + LOCK_MS; ; ) {
    const release = await lock(name);
    if (release !== null) {
      await work();
      return release();
    }
    if (performance.now() > untilMs)
      fail('another set-up in this folder has run for half an hour; stop it and try again');
    if (!waited) say('waiting for another set-up in this folder');
    waited = true;
    await pause(LOCK_CHECK_MS);
  }
}

/** @returns {Promise<(() => void) | null>} a function that frees the lock. null: another process has the lock. */
function lock(/** @type {string} */ name) {
  return new Promise((resolve, reject) => {
    const holder = createServer();
    holder.once('error', (/** @type {NodeJS.ErrnoException} */ error) =>
      error.code === 'EADDRINUSE' ? resolve(null) : reject(error),
    );
    holder.listen(name, () => resolve(() => void holder.close()));
  });
}

async function install() {
  const packages = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
  if (!existsSync(INSTALLED) || readFileSync(INSTALLED, 'utf8') !== packages) {
    say('installing npm packages (npm ci)');
    rmSync(INSTALLED, { force: true });
    await step('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { boundMs: INSTALL_MS });
    checkNode();
    writeFileSync(INSTALLED, packages);
  }
  checkNode();
}

function checkNode() {
  const { status, stdout } = spawnSync(NODE, ['-v'], { encoding: 'utf8' });
  if (status === 0 && stdout.startsWith(`v${NODE_MAJOR}.`)) return;
  rmSync(INSTALLED, { force: true });
  fail(
    [
      `node_modules/.bin/node is not Node ${NODE_MAJOR}: npm did not run the install script of the package "node".`,
      'Allow install scripts with: npm config delete ignore-scripts --location=user. Then try again.',
      '(npm config get ignore-scripts must print false.)',
    ].join(' '),
  );
}

/** Builds into another folder and renames it, so that dist/ never holds a part of a build. */
async function build() {
  const commit = commitOf();
  const inputs = `${fingerprint()} ${commit}`;
  if (existsSync(BUILT) && readFileSync(BUILT, 'utf8') === inputs) return;
  say('building');
  const draft = join(ROOT, '.cache', `build.${process.pid}`);
  const old = `${draft}.old`;
  try {
    mkdirSync(draft, { recursive: true });
    // Because: rolldown lists every chunk on stdout at each log level. Warnings and errors go to stderr.
    await step(
      join(BIN, 'rolldown'),
      ['--config', 'rolldown.config.js', '--dir', draft, '--log-level', 'warn'],
      { stdio: ['inherit', 'ignore', 'inherit'] },
    );
    chmodSync(join(draft, 'main.js'), 0o755);
    if (commit !== '') writeFileSync(join(draft, '.commit'), commit);
    writeFileSync(join(draft, '.built-from'), inputs);
    if (existsSync(join(ROOT, 'dist'))) renameSync(join(ROOT, 'dist'), old);
    renameSync(draft, join(ROOT, 'dist'));
  } finally {
    for (const path of [draft, old]) rmSync(path, { recursive: true, force: true });
  }
}

/** The commit for `curfew --version`. Empty: this folder is not a git checkout. */
function commitOf() {
  const git = (/** @type {string[]} */ ...args) => spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' });
  const { status, stdout } = git('rev-parse', '--short', 'HEAD');
  if (status !== 0) return '';
  return git('diff', '--quiet', 'HEAD', '--', 'src').status === 0
    ? stdout.trim()
    : `${stdout.trim()}, changed`;
}

/** A hash of path, time and size of each file that the build reads. */
function fingerprint() {
  const source = readdirSync(join(ROOT, 'src'), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  const settings = ['rolldown.config.js', 'package-lock.json'].map((name) => join(ROOT, name));
  const hash = createHash('sha256');
  for (const path of [...source, ...settings].sort()) {
    const { mtimeMs, size } = statSync(path);
    hash.update(`${path} ${mtimeMs} ${size}\n`);
  }
  return hash.digest('hex');
}

/** Runs in its own process, so that Ctrl-C stops the build and its temporary files are removed. */
async function livekit() {
  process.on('SIGINT', () => undefined);
  try {
    say(`LiveKit server: ${await ensureLiveKitBinary(say)}`);
    return 0;
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    return 1;
  }
}

/** @returns {Promise<NodeJS.ProcessEnv>} variables that tell the tests which tools exist */
async function prepareTests() {
  if (findLiveKitBinary() === null) {
    const { code, interrupted } = await runChild(
      process.execPath,
      [fileURLToPath(import.meta.url), 'livekit'],
      {
        cwd: ROOT,
        env: ENV,
      },
    );
    if (interrupted) process.exit(code);
  }
  const server = findLiveKitBinary();
  if (server === null)
    skip(
      'tests with a real LiveKit server: put livekit-server on your PATH, or install Go and run npm test again',
    );
  const python = spawnSync('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 9))']).status === 0;
  if (!python) skip('tests that run Python programs: install Python 3.9 or newer as python3');
  const pythonAgents = await preparePythonAgents();
  await prepareOldest(python);
  const systemd = prepareSystemd();
  const previous = preparePrevious();
  return {
    ...(previous ? {} : { CURFEW_NO_PREVIOUS: '1' }),
    ...(pythonAgents ? {} : { CURFEW_NO_PYTHON_AGENTS: '1' }),
    ...(systemd ? {} : { CURFEW_NO_SYSTEMD: '1' }),
    ...(server === null ? {} : { LIVEKIT_SERVER: server }),
    ...(python ? {} : { CURFEW_NO_PYTHON: '1' }),
  };
}

async function preparePythonAgents() {
  try {
    await ensurePythonAgents(say);
    return true;
  } catch (error) {
    skip(`tests with LiveKit's Python agents: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

/** The tests of a version that is missing are left out. */
async function prepareOldest(/** @type {boolean} */ hasPython) {
  for (const version of [...OLDEST, BELOW].filter((one) => hasPython || !one.startsWith('py-')))
    await ensureFramework(version, say).catch((error) =>
      skip(`the calls of ${version}: ${error instanceof Error ? error.message : String(error)}`),
    );
}

/** true: this host can boot a systemd for the tests. */
function prepareSystemd() {
  try {
    ensureDebianTree(say);
    return true;
  } catch (error) {
    skip(`tests in a real systemd: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

/** Whether the previous release is there, to be upgraded. */
function preparePrevious() {
  try {
    ensurePrevious(say);
    return true;
  } catch (error) {
    skip(`the test of an upgrade in place: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

async function test(/** @type {string[]} */ args) {
  /** @type {NodeJS.ProcessEnv} */
  let env = {};
  await alone(async () => {
    env = await prepareTests();
  });
  // Arguments choose tests. Without arguments, style and types are checked too.
  if (args.length === 0) await check();
  const code = await run([WARNINGS_OFF, join('node_modules', 'vitest', 'vitest.mjs'), 'run', ...args], env);
  for (const what of skipped) say(`skipped: ${what}`);
  return code;
}

async function check() {
  say('checking style and types');
  await step(join(BIN, 'biome'), ['check', '--error-on-warnings', '.']);
  await step(join(BIN, 'tsc'), ['-p', '.']);
  return 0;
}

/** @type {Record<string, (args: string[]) => Promise<number>>} */
const COMMANDS = {
  start: async (args) => {
    await alone(build);
    return run([WARNINGS_OFF, join('dist', 'main.js'), 'dev', ...args]);
  },
  // With NODE_ENV=production LiveKit's SDK prints no debug lines.
  call: (args) => run([join('examples', 'call', 'call.mjs'), ...args], { NODE_ENV: 'production' }),
  test,
  bench: async (args) => {
    await alone(build);
    return run([WARNINGS_OFF, join('bench', 'bench.ts'), ...args]);
  },
  chaos: async (args) => {
    await alone(build);
    return run([WARNINGS_OFF, join('test', 'chaos', 'main.ts'), ...args], { NODE_ENV: 'production' });
  },
  conformance: async (args) => {
    await alone(build);
    const server = await ensureLiveKitBinary(say).catch((error) =>
      fail(`the conformance suite needs a LiveKit server: ${error instanceof Error ? error.message : error}`),
    );
    const env = { NODE_ENV: 'production', LIVEKIT_SERVER: server };
    return run([WARNINGS_OFF, join('test', 'conformance', 'main.ts'), ...args], env);
  },
  sim: (args) => run([WARNINGS_OFF, join('test', 'sim', 'main.ts'), ...args]),
  check,
  build: async () => {
    await alone(build);
    return 0;
  },
  'install:systemd': async (args) => {
    await alone(build);
    return run([join('scripts', 'install-systemd.mjs'), ...args]);
  },
  docs: () => run([WARNINGS_OFF, join('scripts', 'print-docs.ts')]),
  format: () => run([join('node_modules', '@biomejs', 'biome', 'bin', 'biome'), 'check', '--write', '.']),
};

const [name = '', ...args] = process.argv.slice(2);
if (process.platform !== 'linux')
  fail(
    'curfew finds and ends processes through /proc, so it needs Linux. On other systems use a container, a virtual machine or WSL.',
  );
if (Number.parseInt(process.versions.node, 10) < LEAST_NODE_MAJOR)
  fail(`the set-up runs on Node ${process.versions.node}, but needs Node ${LEAST_NODE_MAJOR} or newer`);
if (name === 'livekit') process.exit(await livekit());
const command = COMMANDS[name];
if (command === undefined) fail(`unknown command "${name}"; known: ${Object.keys(COMMANDS).join(', ')}`);
await alone(install);
process.exitCode = await command(args);
