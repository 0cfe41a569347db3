/**
 * Installs curfew on a host with systemd: program, command, units, user, and a config if there is none. A second run is
 * an upgrade. Plain JavaScript for Node 20 without dependencies. `--help` lists the options.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const SOURCE = dirname(dirname(fileURLToPath(import.meta.url)));
const TOOL_MS = 120_000;
const USAGE = [
  'Usage: npm run install:systemd -- [options]',
  'Installs curfew, or upgrades it. Run it as root.',
  '',
  '  --prefix DIR   folder of the program (/opt/curfew)',
  '  --root DIR     staging root; writes files and starts nothing',
  '  --dist DIR     folder of the build (dist)',
  '  --node FILE    Node binary to install (default: the one of this project)',
  '  --dry-run      print the steps and change nothing',
  '  --uninstall    stop and remove curfew; config, state and user stay',
  '',
].join('\n');

const options = readOptions();
const ROOT = resolve(options.root);
const STAGED = ROOT !== '/';
const DRY = options['dry-run'];
const PREFIX = options.prefix;
const COMMAND = '/usr/local/bin/curfew';
const CONFIG = '/etc/curfew/curfew.yaml';
const UNITS = ['curfew.service', 'curfew-cleanup.service', 'curfew-cleanup.timer'];

/** A drop-in, with which the kernel can bound each worker. An older systemd would warn about the key. */
const SUBGROUP = '/usr/local/lib/systemd/system/curfew.service.d/subgroup.conf';
const SUBGROUP_SINCE = 254;

/** A file in systemd/ → its path on the host. */
const FILES = {
  ...Object.fromEntries(UNITS.map((name) => [name, `/usr/local/lib/systemd/system/${name}`])),
  'curfew.sysusers.conf': '/usr/local/lib/sysusers.d/curfew.conf',
  'curfew.tmpfiles.conf': '/usr/local/lib/tmpfiles.d/curfew.conf',
};

// A closed pager must not stop the installation halfway.
process.stdout.on('error', () => undefined);

function readOptions() {
  try {
    return parseArgs({
      options: {
        prefix: { type: 'string', default: '/opt/curfew' },
        root: { type: 'string', default: '/' },
        dist: { type: 'string', default: join(SOURCE, 'dist') },
        node: { type: 'string', default: join(SOURCE, 'node_modules/node/bin/node') },
        'dry-run': { type: 'boolean', default: false },
        uninstall: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    fail(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  }
}

function say(/** @type {string} */ text) {
  process.stdout.write(`${text}\n`);
}

/** @returns {never} */
function fail(/** @type {string} */ text) {
  process.stderr.write(`install: ${text}\n`);
  process.exit(1);
}

/** The path on the host, or below the staging root. */
function at(/** @type {string} */ path) {
  return join(ROOT, path);
}

/** Prints a step, and does it except in a dry run. */
function step(/** @type {string} */ what, /** @type {() => void} */ work) {
  say(`${DRY ? 'would: ' : ''}${what}`);
  if (!DRY) work();
}

/** Writes a new file and renames it, so that a reader never gets a part of the file. */
function put(/** @type {string} */ path, /** @type {string} */ text, /** @type {number} */ mode) {
  step(`write ${at(path)}`, () => {
    mkdirSync(dirname(at(path)), { recursive: true });
    writeFileSync(at(`${path}.new`), text);
    chmodSync(at(`${path}.new`), mode);
    renameSync(at(`${path}.new`), at(path));
  });
}

/** Runs a tool of the host's systemd. In a staging root the first boot does this work. */
function tool(/** @type {string} */ command, /** @type {string[]} */ args, { mayFail = false } = {}) {
  const line = [command, ...args].join(' ');
  if (STAGED) return;
  step(line, () => {
    const { status, error } = spawnSync(command, args, { stdio: 'inherit', timeout: TOOL_MS });
    if (!mayFail && status !== 0) fail(`${line}: ${error?.message ?? `ended with ${status}`}`);
  });
}

function check() {
  if (!STAGED && !DRY && process.getuid?.() !== 0) fail('the installation needs root; run it with sudo');
  if (!PREFIX.startsWith('/') || resolve(PREFIX) === '/')
    fail(`--prefix: "${PREFIX}" is not an absolute path of a folder for curfew alone, such as /opt/curfew`);
  if (existsSync(at(PREFIX)) && !existsSync(join(at(PREFIX), 'dist', 'main.js')))
    fail(`--prefix: ${at(PREFIX)} exists and does not contain curfew; choose another folder`);
}

/** Copies the program to a new folder and renames it. A running supervisor goes on with the old program until its restart. */
function installProgram() {
  step(`install the program and its own Node into ${at(PREFIX)}`, () => {
    const draft = at(`${PREFIX}.new`);
    const old = at(`${PREFIX}.old`);
    for (const path of [draft, old]) rmSync(path, { recursive: true, force: true });
    const copy = (/** @type {string} */ from, /** @type {string} */ to) =>
      cpSync(from, join(draft, to), { recursive: true, dereference: true });
    copy(options.dist, 'dist');
    for (const name of ['kits', 'config', 'docs', 'systemd', 'package.json', 'LICENSE'])
      copy(join(SOURCE, name), name);
    mkdirSync(join(draft, 'bin'));
    copyFileSync(options.node, join(draft, 'bin', 'node'));
    chmodSync(join(draft, 'bin', 'node'), 0o755);
    readable(draft);
    if (existsSync(at(PREFIX))) setAside(at(PREFIX), old);
    renameSync(draft, at(PREFIX));
    rmSync(old, { recursive: true, force: true });
  });
}

/** The version on this host. 0: unknown, because a staging root is for another host. */
function systemdVersion() {
  if (STAGED) return 0;
  const { stdout } = spawnSync('systemctl', ['--version'], { encoding: 'utf8', timeout: TOOL_MS });
  return Number(/^systemd (\d+)/.exec(stdout ?? '')?.[1] ?? 0);
}

function setAside(/** @type {string} */ path, /** @type {string} */ old) {
  try {
    renameSync(path, old);
  } catch (error) {
    // Because: an overlay file system cannot rename a folder of its lower layer.
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EXDEV') throw error;
    rmSync(path, { recursive: true });
  }
}

/** The service's user can read the files, and only root can write them. The umask of the checkout does not matter. */
function readable(/** @type {string} */ folder) {
  const { status } = spawnSync('chmod', ['-R', 'u=rwX,go=rX', folder], { timeout: TOOL_MS });
  if (status !== 0) fail(`the permissions of ${folder} could not be set`);
}

function install() {
  if (!existsSync(join(options.dist, 'main.js')))
    fail(`--dist: there is no build in ${options.dist}; run npm run build`);
  if (!existsSync(options.node))
    fail(`--node: there is no Node at ${options.node}; run npm ci, or set --node FILE`);
  installProgram();
  // A small young generation: a third less memory with two thousand calls, without more CPU (bench/README.md).
  const flags = '--disable-warning=ExperimentalWarning --max-semi-space-size=4';
  const run = `exec ${PREFIX}/bin/node ${flags} ${PREFIX}/dist/main.js "$@"`;
  put(COMMAND, `#!/bin/sh\n${run}\n`, 0o755);
  for (const [name, path] of Object.entries(FILES))
    put(path, readFileSync(join(SOURCE, 'systemd', name), 'utf8'), 0o644);
  if (systemdVersion() >= SUBGROUP_SINCE) put(SUBGROUP, '[Service]\nDelegateSubgroup=supervisor\n', 0o644);
  tool('systemd-sysusers', [FILES['curfew.sysusers.conf']]);
  tool('systemd-tmpfiles', ['--create', FILES['curfew.tmpfiles.conf']]);
  if (existsSync(at(CONFIG))) say(`${at(CONFIG)} exists and stays unchanged`);
  else put(CONFIG, readFileSync(join(SOURCE, 'systemd', 'curfew.yaml'), 'utf8'), 0o644);
  tool('systemctl', ['daemon-reload']);
  if (STAGED || DRY) return;
  say(
    `\nNext: edit ${CONFIG}, then  systemctl enable --now curfew.service curfew-cleanup.timer\nAfter an upgrade:  systemctl restart curfew  (all calls go on)`,
  );
}

function uninstall() {
  tool('systemctl', ['disable', '--now', ...UNITS.filter((name) => name !== 'curfew-cleanup.service')], {
    mayFail: true,
  });
  for (const path of [...Object.values(FILES), dirname(SUBGROUP), COMMAND, PREFIX])
    step(`remove ${at(path)}`, () => rmSync(at(path), { recursive: true, force: true }));
  tool('systemctl', ['daemon-reload']);
  if (STAGED || DRY) return;
  say(
    '\n/etc/curfew, /var/lib/curfew and the user curfew stay. Remove them yourself if you do not need them.',
  );
}

if (options.help) say(USAGE);
else {
  check();
  if (options.uninstall) uninstall();
  else install();
}
