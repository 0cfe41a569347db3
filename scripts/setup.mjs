/**
 * What `npm start`, `npm test` and the others begin with: installs what is missing, then runs the command on the project's own Node.
 * Plain JavaScript for Node 20 without dependencies, because it runs before anything is installed.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureLiveKitBinary } from './livekit-binary.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BIN = join(ROOT, 'node_modules', '.bin');
const NODE = join(BIN, 'node');
const NODE_MAJOR = 24;
const STAMP = join(ROOT, 'node_modules', '.curfew-installed');
const IN_CI = process.env.CI === 'true';
const WARNINGS_OFF = '--disable-warning=ExperimentalWarning';

const say = (/** @type {string} */ text) => process.stderr.write(`curfew: ${text}\n`);

/** Runs one child and waits; signals reach it, and its end is ours. */
function run(
  /** @type {string} */ command,
  /** @type {string[]} */ args,
  /** @type {Record<string, string>} */ env = {},
) {
  const child = spawn(command, args, {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${BIN}${delimiter}${process.env.PATH}`, ...env },
  });
  // From a terminal both of us get the signal; from elsewhere only we do. A second one changes nothing for the child.
  const forward = (/** @type {NodeJS.Signals} */ signal) => child.kill(signal);
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, forward);
  return new Promise((/** @type {(code: number) => void} */ resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.off(name, forward);
      resolve(code ?? (signal === 'SIGINT' ? 130 : 1));
    });
  });
}

async function mustRun(/** @type {string} */ command, /** @type {string[]} */ args) {
  const code = await run(command, args);
  if (code !== 0) process.exit(code);
}

async function install() {
  const lock = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
  const installed = existsSync(STAMP) && readFileSync(STAMP, 'utf8') === lock;
  if (!installed) {
    say('installing npm packages (npm ci)');
    const code = await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
    if (code !== 0) fail(`npm ci ended with ${code}; see the lines above`);
    writeFileSync(STAMP, lock);
  }
  const version = spawnSync(NODE, ['-v'], { encoding: 'utf8' });
  if (version.status === 0 && version.stdout.startsWith(`v${NODE_MAJOR}.`)) return;
  rmSync(STAMP, { force: true });
  fail(
    `node_modules/.bin/node is not Node ${NODE_MAJOR}: the install script of the npm package "node" did not run; allow it (npm config set ignore-scripts false) and try again`,
  );
}

/** @returns {never} */
function fail(/** @type {string} */ text) {
  say(text);
  process.exit(1);
}

async function build() {
  const output = join(ROOT, 'dist', 'main.js');
  if (existsSync(output) && newest(join(ROOT, 'src')) < statSync(output).mtimeMs) return;
  say('building');
  rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
  await mustRun(join(BIN, 'tsc'), ['-p', 'tsconfig.build.json']);
}

/** @returns {number} */
function newest(/** @type {string} */ folder) {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) =>
    entry.isFile(),
  );
  return Math.max(
    ...entries.map((entry) => statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs),
  );
}

/** @type {string[]} */
const skipped = [];

/** In CI a missing piece is an error; elsewhere it is said at the end. */
function skip(/** @type {string} */ what) {
  if (IN_CI) fail(what);
  skipped.push(what);
}

async function prepareTests() {
  try {
    process.env.LIVEKIT_SERVER = await ensureLiveKitBinary(say);
  } catch (error) {
    skip(`tests with a real LiveKit server: ${error instanceof Error ? error.message : error}`);
  }
  const python = spawnSync('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 9))']);
  if (python.status !== 0) skip('tests of the Python kit: install Python 3.9 or newer as python3');
}

async function test(/** @type {string[]} */ args) {
  await prepareTests();
  const chosen = args.length > 0;
  if (!chosen) await check();
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  const code = await run(NODE, [
    WARNINGS_OFF,
    join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'),
    'run',
    ...args,
  ]);
  for (const what of skipped) say(`skipped: ${what}`);
  return code;
}

async function check() {
  await mustRun(join(BIN, 'biome'), ['check', '--error-on-warnings', '.']);
  await mustRun(join(BIN, 'tsc'), ['-p', '.']);
}

/** @type {Record<string, (args: string[]) => Promise<number>>} */
const COMMANDS = {
  start: async () => {
    await build();
    return run(NODE, [WARNINGS_OFF, 'dist/main.js', 'dev']);
  },
  call: (args) => run(NODE, ['examples/call/call.mjs', ...args]),
  test,
  bench: async (args) => {
    await build();
    return run(NODE, [WARNINGS_OFF, 'bench/bench.ts', ...args]);
  },
  check: async () => {
    await check();
    return 0;
  },
  build: async () => {
    await build();
    return 0;
  },
  docs: () => run(NODE, [WARNINGS_OFF, 'scripts/print-docs.ts']),
};

const [name = '', ...args] = process.argv.slice(2);
const command = COMMANDS[name];
if (command === undefined) fail(`unknown command "${name}"; known: ${Object.keys(COMMANDS).join(', ')}`);
await install();
process.exitCode = await command(args);
