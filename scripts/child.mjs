/** One child in this process's place: it gets our signals once, its end is ours, and nothing of its group stays behind. Plain JavaScript for Node 20. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);
/** The terminal tells npm and us of one Ctrl-C, and npm tells us again. */
const SAME_PRESS_MS = 500;
/** For a child that ran out of time, between asking and killing. */
const KILL_AFTER_MS = 5000;

/**
 * The child leads a group of its own, so that a signal reaches it on one way only: through us.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd: string, env: NodeJS.ProcessEnv, boundMs?: number, stdio?: import('node:child_process').StdioOptions }} options boundMs: after it the child is ended
 * @returns {Promise<{ code: number, interrupted: boolean }>} as a shell would say it: 128 and the number of the signal that ended it
 */
export async function runChild(command, args, { cwd, env, boundMs, stdio = 'inherit' }) {
  const leash = holdLeash();
  const child = spawn(command, args, { cwd, env, stdio, detached: true });
  leash.stdin.write(`${child.pid ?? ''}\n`);
  const ended = endOf(child);
  const pass = passSignals(child);
  const timer = boundMs === undefined ? null : setTimeout(() => stop(child), boundMs);
  try {
    return { code: await ended, interrupted: pass.interrupted() };
  } finally {
    if (timer !== null) clearTimeout(timer);
    pass.end();
    leash.kill('SIGKILL');
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

/** Should we be killed outright, our end of the pipe closes and the child is asked to end. Held before the child begins: it may be quick. */
function holdLeash() {
  const script = 'read -r group; read -r _; [ -z "$group" ] || kill -s TERM -- "-$group"';
  const leash = spawn('sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  leash.once('error', () => undefined);
  leash.stdin.on('error', () => undefined);
  return leash;
}

function stop(/** @type {import('node:child_process').ChildProcess} */ child) {
  signalGroup(child, 'SIGTERM');
  setTimeout(() => signalGroup(child, 'SIGKILL'), KILL_AFTER_MS).unref();
}

/** A group without members is no error: that is what everybody wants. */
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
