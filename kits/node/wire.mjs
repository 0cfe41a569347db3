/** The kit's thread: owns the socket, reconnects for ever, and writes the main thread's stack while that is blocked. */
import { writeSync } from 'node:fs';
import { Session } from 'node:inspector';
import { createConnection } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

const VERSION = 1;
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2000;
const QUEUE_LENGTH = 1000;
const BACKLOG_BYTES = 1024 * 1024;
/** Less than the supervisor waits (5 s); a busy host needs more than a second. */
const STACK_MS = 3000;
/** Trying again would be refused again. */
const FINAL = ['wrong_token', 'wrong_version', 'other_instance'];

const { path, worker, token } = workerData;
/** @type {import('node:net').Socket | null} */
let socket = null;
let welcomed = false;
let readySaid = false;
let waitMs = FIRST_WAIT_MS;
let pings = 0;
/** @type {NodeJS.Timeout | undefined} */
let beat;
/** @type {any[]} */
let queue = [];
/** @type {number[]} */
const unflushed = [];

function tell(/** @type {object} */ message) {
  parentPort?.postMessage(message);
}

function write(/** @type {any} */ message) {
  socket?.write(`${JSON.stringify(message)}\n`);
}

function hasRoom() {
  return welcomed && (socket?.writableLength ?? 0) < BACKLOG_BYTES;
}

/** What cannot be sent now waits, and nothing overtakes it; when too much waits, old activity is the first to go. */
function say(/** @type {any} */ message) {
  if (message.type === 'ready') readySaid = true;
  if (queue.length === 0 && hasRoom()) return write(message);
  // It is said anew at every welcome; activity that the supervisor does not read is worth nothing later.
  if (welcomed ? message.type === 'activity' : message.type === 'ready') return;
  if (queue.length >= QUEUE_LENGTH) {
    const at = queue.findIndex((one) => one.type === 'activity');
    queue.splice(Math.max(at, 0), 1);
  }
  queue.push(message);
}

/** As much as has room now; the rest when the supervisor has read that. */
function sendQueue() {
  while (queue.length > 0 && hasRoom()) write(queue.shift());
  if (queue.length > 0) return;
  for (const id of unflushed.splice(0)) flush(id);
}

function connect() {
  let rest = '';
  socket = createConnection(path);
  socket.setEncoding('utf8');
  socket.on('connect', () =>
    write({ type: 'hello', v: VERSION, worker, token, kit: { name: 'node', version: '0.1.0' } }),
  );
  socket.on('data', (/** @type {string} */ chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) hear(line);
  });
  socket.on('drain', sendQueue);
  socket.on('error', () => {});
  socket.on('close', () => {
    clearInterval(beat);
    welcomed = false;
    socket = null;
    queue = queue.filter(({ type }) => type !== 'ready');
    setTimeout(connect, waitMs);
    waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2);
  });
}

function hear(/** @type {string} */ line) {
  let message;
  try {
    message = JSON.parse(line);
  } catch {
    return;
  }
  if (message.type === 'welcome') onWelcome(message);
  else if (message.type === 'dump') return dump();
  else if (message.type === 'error') return refused(message);
  tell({ heard: message });
}

function onWelcome(/** @type {any} */ { heartbeatMs }) {
  welcomed = true;
  waitMs = FIRST_WAIT_MS;
  if (readySaid) write({ type: 'ready' });
  sendQueue();
  clearInterval(beat);
  beat = setInterval(() => tell({ ping: ++pings }), heartbeatMs);
}

function refused(/** @type {any} */ { code, message }) {
  writeSync(2, `curfew kit: the supervisor refused: ${message}\n`);
  if (!FINAL.includes(code)) return;
  socket?.removeAllListeners('close');
  socket?.destroy();
  parentPort?.close();
}

/** The inspector reaches the main thread also while it runs a loop; a thread that waits in native code gives nothing. */
function dump() {
  const session = new Session();
  const done = (/** @type {string} */ text) => {
    clearTimeout(timer);
    writeSync(2, `curfew kit: stack of the main thread\n${text}\n`);
    write({ type: 'dumped' });
    session.disconnect();
  };
  const timer = setTimeout(() => done('  (none: it does not run JavaScript now)'), STACK_MS);
  try {
    session.connectToMainThread();
    session.on('Debugger.paused', ({ params }) => {
      const frames = params.callFrames.map(
        ({ functionName, url, location }) =>
          `  at ${functionName || '(anonymous)'} (${url}:${location.lineNumber + 1}:${(location.columnNumber ?? 0) + 1})`,
      );
      session.post('Debugger.resume');
      done(frames.join('\n'));
    });
    session.post('Debugger.enable');
    session.post('Debugger.pause');
  } catch (error) {
    done(`  (none: ${error instanceof Error ? error.message : String(error)})`);
  }
}

parentPort?.on('message', (message) => {
  if (message.say) say(message.say);
  else if (message.pong) {
    if (welcomed) write({ type: 'heartbeat' });
  } else if (message.flush) flush(message.flush);
});

/** Answers when all that was said is with the kernel. */
function flush(/** @type {number} */ id) {
  if (welcomed && socket !== null && queue.length === 0) socket.write('\n', () => tell({ flushed: id }));
  else unflushed.push(id);
}

connect();
