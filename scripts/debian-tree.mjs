/**
 * Makes a Debian tree with systemd in .cache/, once, for the tests that boot it. Needs root, and installs missing tools.
 * Plain JavaScript for Node 20 without dependencies, because `npm test` runs it before the tests.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const SUITE = 'bookworm';
const TREE = join(ROOT, '.cache', `debian-${SUITE}`);
const PACKAGES = ['systemd', 'systemd-sysv', 'dbus', 'libpam-systemd', 'procps'];
const TOOLS = { debootstrap: 'debootstrap', 'systemd-nspawn': 'systemd-container', nsenter: 'util-linux' };
const TOOL_MS = 10 * 60_000;

/** The reason why this host cannot boot a systemd. null: no reason is known. */
export function whyNoSystemd() {
  if (process.getuid?.() !== 0) return 'it needs root';
  if (!/ cgroup2 /.test(readFileSync('/proc/mounts', 'utf8'))) return 'there is no cgroup v2 here';
  if (lackingTools().length > 0 && !has('apt-get'))
    return `the packages ${lackingTools().join(' and ')} are missing, and there is no apt-get to install them`;
  return null;
}

/** The path of the tree. Throws with the reason when it cannot be made. */
export function ensureDebianTree(/** @type {(text: string) => void} */ say) {
  const why = whyNoSystemd();
  if (why !== null) throw new Error(why);
  const lacking = [...new Set(lackingTools())];
  if (lacking.length > 0) {
    say(`installing ${lacking.join(' and ')} (apt-get)`);
    tool('apt-get', ['update', '-q']);
    tool('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...lacking]);
  }
  if (existsSync(TREE)) return TREE;
  say(`making a Debian tree to boot, once, in ${TREE} (debootstrap; about a minute)`);
  const draft = `${TREE}.${process.pid}`;
  try {
    mkdirSync(dirname(TREE), { recursive: true });
    tool('debootstrap', ['--variant=minbase', `--include=${PACKAGES.join(',')}`, SUITE, draft]);
    for (const path of ['var/cache/apt/archives', 'var/lib/apt/lists'])
      rmSync(join(draft, path), { recursive: true, force: true });
    // Race: another run may have made the tree in between. Both trees are the same.
    if (!existsSync(TREE)) renameSync(draft, TREE);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  return TREE;
}

function lackingTools() {
  return Object.entries(TOOLS).flatMap(([command, name]) => (has(command) ? [] : [name]));
}

function has(/** @type {string} */ command) {
  return spawnSync('sh', ['-c', `command -v ${command}`], { env: env() }).status === 0;
}

function env() {
  return {
    ...process.env,
    PATH: `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`,
    DEBIAN_FRONTEND: 'noninteractive',
  };
}

function tool(/** @type {string} */ command, /** @type {string[]} */ args) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: TOOL_MS,
    maxBuffer: 64 * 1024 * 1024,
    env: env(),
  });
  if (status === 0) return;
  const last = `${stdout}\n${stderr}`.trim().split('\n').slice(-5).join('\n');
  throw new Error(`${command} ${args[0]} ended with ${status}:\n${last}`);
}
