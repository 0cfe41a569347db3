/**
 * The Node kit: the connection of a voice agent to its curfew supervisor. No dependencies.
 * The socket has its own thread (wire.mjs). It sends a heartbeat only after this main thread has answered its ping.
 */
import { Worker } from 'node:worker_threads';
import { report } from './attach.mjs';
import { note } from './note.mjs';

const FLUSH_MS = 1000;
const NO_ROOM =
  'this warm worker has no room yet, and the program does not wait for one. Use serve() instead of connect(), or remove `warm` from the profile.';
/** One for all sessions of this process. Two connections of one worker would replace each other for ever.
 * @type {import('./curfew.d.mts').Curfew | null} */
let attached = null;

/** @type {import('./curfew.d.mts').attach} */
export function attach(session) {
  // LiveKit's protocol asks the job to end, so `disconnect` must not end the process.
  attached ??= connect({ exitOnDisconnect: false });
  if (attached.supervised) report(session, attached);
  return attached;
}

/** @type {import('./curfew.d.mts').connect} */
export function connect({ exitOnDisconnect = true } = {}) {
  const { CURFEW_SOCKET: path, CURFEW_WORKER: worker, CURFEW_TOKEN: token } = process.env;
  const supervised = Boolean(path && worker && token);
  const job = readJob();
  const wire = supervised
    ? new Worker(new URL('./wire.mjs', import.meta.url), { workerData: { path, worker, token } })
    : null;
  /** @type {Record<string, Function[]>} */
  const callbacks = { aclose: [], disconnect: [], configure: [], notice: [], assign: [] };
  const flushed = new Map();
  let flushes = 0;

  const say = (/** @type {object} */ message) => wire?.postMessage({ say: message });
  const fail = (/** @type {unknown} */ error, source = 'kit') =>
    say({ type: 'error', message: textOf(error), source });
  const call = async (/** @type {string} */ name, /** @type {unknown} */ argument) => {
    for (const callback of callbacks[name] ?? []) {
      try {
        await callback(argument);
      } catch (error) {
        fail(error, name);
      }
    }
  };
  const closed = (/** @type {string | undefined} */ detail) => {
    if (wire === null) return Promise.resolve();
    say({ type: 'closed', ...(detail === undefined ? {} : { detail: detail.slice(0, 500) }) });
    return flush();
  };
  const flush = () =>
    new Promise((resolve) => {
      const id = ++flushes;
      // The timer keeps the process alive until the message is sent, but not longer.
      const timer = setTimeout(resolve, FLUSH_MS);
      flushed.set(id, () => {
        clearTimeout(timer);
        resolve(undefined);
      });
      wire?.postMessage({ flush: id });
    });

  /** @type {Record<string, (message: any) => void | Promise<void>>} */
  const handle = {
    welcome: (message) => {
      if (message.job) Object.assign(job, { attempt: message.job.attempt, metadata: message.job.metadata });
    },
    // The message comes twice if the supervisor restarted in between.
    assign: async ({ job: { session, room, attempt, metadata }, url, token }) => {
      Object.assign(job, { sessionId: session, room, attempt, metadata });
      Object.assign(job, { livekitUrl: url || null, livekitToken: token || null });
      await call('assign', job);
    },
    configure: async ({ rev, metadata }) => {
      job.metadata = metadata;
      await call('configure', metadata);
      say({ type: 'configured', rev });
    },
    notice: ({ reason, inMs }) => call('notice', { reason, inMs }),
    aclose: async ({ reason, boundMs }) => {
      await call('aclose', { reason, boundMs });
      await closed();
    },
    disconnect: async ({ boundMs }) => {
      await call('disconnect', { boundMs });
      if (exitOnDisconnect) process.exit(0);
    },
  };

  wire?.on('message', (message) => {
    if (message.ping) wire.postMessage({ pong: message.ping });
    else if (message.flushed) flushed.get(message.flushed)?.();
    // An unknown message belongs to a later version of curfew, so the kit ignores it.
    else if (message.heard && Object.hasOwn(handle, message.heard.type))
      void handle[message.heard.type]?.(message.heard);
  });
  wire?.on('error', (error) => note(`curfew kit: ${textOf(error)}`));
  // The kit alone never keeps a process alive.
  wire?.unref();

  return {
    supervised,
    job,
    ready: () => {
      if (supervised && job.sessionId === '' && callbacks.assign?.length === 0)
        note(`curfew kit: ${NO_ROOM}`);
      say({ type: 'ready' });
    },
    activity: (kind) => say({ type: 'activity', kind }),
    keepAlive: (forMs) => say({ type: 'activity', kind: 'keep_alive', forMs: Math.round(forMs) }),
    ok: () => say({ type: 'ok' }),
    error: (error, source = 'agent') => fail(error, source),
    failed: (error) => say({ type: 'failed', message: textOf(error) }),
    closed,
    onAclose: (callback) => void callbacks.aclose?.push(callback),
    onDisconnect: (callback) => void callbacks.disconnect?.push(callback),
    onConfigure: (callback) => void callbacks.configure?.push(callback),
    onNotice: (callback) => void callbacks.notice?.push(callback),
    onAssign: (callback) => void callbacks.assign?.push(callback),
  };
}

/** @type {import('./curfew.d.mts').serve} */
export function serve(run, options) {
  const curfew = connect(options);
  // Because: nothing else keeps the process of a warm worker alive while it waits for its room.
  const keepAlive = setInterval(() => {}, 2 ** 30);
  let hasStarted = false;
  const start = async () => {
    if (hasStarted) return;
    hasStarted = true;
    try {
      const running = run(curfew.job, curfew);
      // A job that fails at once must not count as ready.
      await Promise.race([running, null]);
      curfew.ready();
      await running;
      await curfew.closed();
      clearInterval(keepAlive);
    } catch (error) {
      // curfew replaces a crashed worker while a caller is there.
      note(textOf(error));
      process.exit(1);
    }
  };
  curfew.onAssign(() => void start());
  if (!curfew.supervised || curfew.job.sessionId !== '') void start();
  else curfew.ready();
  return curfew;
}

function readJob() {
  const { CURFEW_SESSION_ID, CURFEW_ROOM, CURFEW_METADATA, LIVEKIT_URL, LIVEKIT_TOKEN } = process.env;
  const job = {
    sessionId: CURFEW_SESSION_ID ?? '',
    room: CURFEW_ROOM ?? '',
    attempt: Number(process.env.CURFEW_ATTEMPT ?? 1),
    metadata: readMetadata(CURFEW_METADATA),
    livekitUrl: LIVEKIT_URL ?? null,
    livekitToken: LIVEKIT_TOKEN ?? null,
  };
  // Not enumerable, so that a printed job does not put the token into the log.
  return Object.defineProperty(job, 'livekitToken', { enumerable: false });
}

function readMetadata(/** @type {string | undefined} */ text) {
  try {
    return JSON.parse(text ?? '{}');
  } catch {
    return {};
  }
}

function textOf(/** @type {unknown} */ error) {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return text.slice(0, 4000);
}
