/** The kit's thread: owns the socket, reconnects for ever, and can write the stack of a blocked main thread. */
import { Session } from 'node:inspector';
import { createConnection } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { note } from './note.mjs';

const VERSION = 1;
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2000;
const QUEUE_LENGTH = 1000;
const BACKLOG_BYTES = 1024 * 1024;
/** Bound for the stack of the main thread. Less than the supervisor's 5 s; a busy host needs more than 1 s. */
const STACK_MS = 3000;
/** Refusals that would repeat, so the kit does not reconnect. */
const FINAL = ['wrong_token', 'wrong_version', 'other_instance'];

/** `watches`: curfew's launcher watches the main thread. `null`: it does not. */
const { path, worker, token, client = 'node', watches = null } = workerData;
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
/** Types of messages that this supervisor takes beyond those of 0.1.0.
 * @type {string[]} */
let accepts = [];
/** Messages that each connection repeats first, by type.
 * @type {Map<string, any>} */
const states = new Map();
/** How many tools run. They count as activity, also while the main thread is blocked. */
let tools = 0;
let retired = false;
/** The latest ping of the watch. Its number is negative, and no two pings share one. */
let watchPing = 0;
/** The ping of the watch that the main thread has not answered yet; 0: none. */
let unanswered = 0;

function tell(/** @type {object} */ message) {
  parentPort?.postMessage(message);
}

function write(/** @type {any} */ message) {
  socket?.write(`${JSON.stringify(message)}\n`);
}

function hasRoom() {
  return welcomed && (socket?.writableLength ?? 0) < BACKLOG_BYTES;
}

/** Sends a message, or queues it in order. A full queue drops its oldest activity first. */
function say(/** @type {any} */ message) {
  if (message.type === 'ready') readySaid = true;
  if (queue.length === 0 && hasRoom()) return write(message);
  // Each welcome sends `ready` again. Activity that the supervisor does not read now has no value later.
  if (welcomed ? message.type === 'activity' : message.type === 'ready') return;
  if (queue.length >= QUEUE_LENGTH) {
    const at = queue.findIndex((one) => one.type === 'activity');
    queue.splice(Math.max(at, 0), 1);
  }
  queue.push(message);
}

/** Sends as much as the socket accepts. The event `drain` sends the rest. */
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
    write({ type: 'hello', v: VERSION, worker, token, kit: { name: client, version: '0.1.0' } }),
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
    // The next welcome repeats `ready` and the latest states. An older state after them would be wrong.
    queue = queue.filter(({ type }) => type !== 'ready' && !states.has(type));
    if (retired) return;
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

function onWelcome(/** @type {any} */ { heartbeatMs, accepts: known = [] }) {
  welcomed = true;
  accepts = known;
  waitMs = FIRST_WAIT_MS;
  if (readySaid) write({ type: 'ready' });
  for (const message of states.values()) if (accepts.includes(message.type)) write(message);
  sendQueue();
  clearInterval(beat);
  beat = setInterval(() => {
    if (tools > 0) write({ type: 'activity', kind: 'task' });
    tell({ ping: ++pings });
  }, heartbeatMs);
}

/** Sends a later type of message, if the supervisor takes it. `repeats`: again after each reconnect. */
function tellState(/** @type {any} */ message, /** @type {boolean} */ repeats) {
  if (repeats) states.set(message.type, message);
  if (welcomed && accepts.includes(message.type)) say(message);
}

/** Another client of this process takes the place of this one. */
function retire() {
  retired = true;
  socket?.destroy();
  parentPort?.close();
}

function watch() {
  watchPing -= 1;
  unanswered = watchPing;
  tell({ ping: watchPing });
  const asked = watchPing;
  const beganMs = performance.now();
  setTimeout(() => {
    if (asked !== unanswered || retired) return;
    // After a suspend of the whole process the main thread answers within the second bound.
    setTimeout(() => asked === unanswered && notice(performance.now() - beganMs), watches.secondChanceMs);
  }, watches.blockedMs);
}

/** The framework itself notices a blocked main thread only after a minute. */
function notice(/** @type {number} */ forMs) {
  const seconds = Math.round(forMs / 1000);
  const line = `curfew: the event loop of this job is blocked for ${seconds} s. It does this now:`;
  tellState({ type: 'loop_blocked', forMs: Math.round(forMs) }, false);
  readStack((stack) => note(`${line}\n${stack}`));
}

function refused(/** @type {any} */ { code, message }) {
  note(`curfew kit: the supervisor refused: ${message}`);
  if (!FINAL.includes(code)) return;
  socket?.removeAllListeners('close');
  socket?.destroy();
  parentPort?.close();
}

function dump() {
  readStack((text) => {
    note(`curfew kit: stack of the main thread\n${text}`);
    write({ type: 'dumped' });
  });
}

/** The inspector interrupts a main thread that runs JavaScript. A thread that waits in native code gives no stack. */
function readStack(/** @type {(text: string) => void} */ use) {
  const session = new Session();
  const done = (/** @type {string} */ text) => {
    clearTimeout(timer);
    use(text);
    session.disconnect();
  };
  const timer = setTimeout(() => done('  (none: the main thread does not run JavaScript now)'), STACK_MS);
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
  else if (message.state) tellState(message.state, message.repeats);
  else if (message.retire) retire();
  else if (message.tools !== undefined) tools = message.tools;
  else if (message.pong < 0) {
    unanswered = 0;
    setTimeout(watch, watches.everyMs);
  } else if (message.pong) {
    if (welcomed) write({ type: 'heartbeat' });
  } else if (message.flush) flush(message.flush);
});

/** Answers when the kernel has all queued messages. */
function flush(/** @type {number} */ id) {
  if (welcomed && socket !== null && queue.length === 0) socket.write('\n', () => tell({ flushed: id }));
  else unflushed.push(id);
}

connect();
if (watches !== null) watch();
