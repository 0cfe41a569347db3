/**
 * Runs a child as if it were this process. The child gets each signal once, and no process of its group remains.
 * Plain JavaScript for Node 20.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);
/** For one Ctrl-C this process gets a signal from the terminal and another one from npm. Signals within this time are one. */
const SAME_PRESS_MS = 500;
/** Time from SIGTERM to SIGKILL for a child that exceeded its bound. */
const KILL_AFTER_MS = 5000;

/**
 * The child leads its own process group, so that it gets signals only through this process.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd: string, env: NodeJS.ProcessEnv, boundMs?: number, stdio?: import('node:child_process').StdioOptions }} options `boundMs`: after this time the child ends
 *
 * @returns {Promise<{ code: number, interrupted: boolean }>} `code` as in a shell: 128 plus the number of a signal
 */
export async function runChild(command, args, { cwd, env, boundMs, stdio = 'inherit' }) {
  const watcher = startWatcher();
  const child = spawn(command, args, { cwd, env, stdio, detached: true });
  watcher.stdin.write(`${child.pid ?? ''}\n`);
  const ended = endOf(child);
  const pass = passSignals(child);
  const timer = boundMs === undefined ? null : setTimeout(() => stop(child), boundMs);
  try {
    return { code: await ended, interrupted: pass.interrupted() };
  } finally {
    if (timer !== null) clearTimeout(timer);
    pass.end();
    watcher.kill('SIGKILL');
    signalGroup(child, 'SIGTERM');
  }
}

/** @param {import('node:child_process').ChildProcess} child */
function endOf(child) {
  return new Promise((/** @type {(code: number) => void} */ resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']));
  });
}

/** @param {import('node:child_process').ChildProcess} child */
function passSignals(child) {
  /** @type {Map<NodeJS.Signals, number>} */
  const lastMs = new Map();
  const pass = (/** @type {NodeJS.Signals} */ signal) => {
    const nowMs = performance.now();
    const sinceMs = nowMs - (lastMs.get(signal) ?? Number.NEGATIVE_INFINITY);
    lastMs.set(signal, nowMs);
    if (sinceMs > SAME_PRESS_MS) signalGroup(child, signal);
  };
  for (const signal of SIGNALS) process.on(signal, pass);
  return {
    interrupted: () => lastMs.size > 0,
    end: () => {
      for (const signal of SIGNALS) process.off(signal, pass);
    },
  };
}

/**
 * A shell that ends the child if this process is killed: the kernel then closes this end of the pipe.
 * It starts before the child, because the child may end soon.
 */
function startWatcher() {
  const script = 'read -r group; read -r _; [ -z "$group" ] || kill -s TERM -- "-$group"';
  const watcher = spawn('sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  watcher.once('error', () => undefined);
  watcher.stdin.on('error', () => undefined);
  return watcher;
}

function stop(/** @type {import('node:child_process').ChildProcess} */ child) {
  signalGroup(child, 'SIGTERM');
  setTimeout(() => signalGroup(child, 'SIGKILL'), KILL_AFTER_MS).unref();
}

/** A group without processes is not an error, because the signal should end them. */
function signalGroup(
  /** @type {import('node:child_process').ChildProcess} */ child,
  /** @type {NodeJS.Signals} */ signal,
) {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ESRCH') throw error;
  }
}
