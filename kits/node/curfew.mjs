/**
 * The Node kit: a voice agent's line to its curfew supervisor. No dependencies.
 * The socket lives in a thread (wire.mjs); a heartbeat is sent only when this, the main thread, answered the thread's ping.
 */
import { Worker } from 'node:worker_threads';
import { report } from './attach.mjs';

const FLUSH_MS = 1000;
const NO_ROOM =
  'this worker is kept warm and has no room yet, but nothing waits for one: use serve() instead of connect(), or take `warm` out of its profile';
/** One for all sessions of this process: of two the newer connection would win over the older, for ever.
 * @type {import('./curfew.d.mts').Curfew | null} */
let attached = null;

/** @type {import('./curfew.d.mts').attach} */
export function attach(session) {
  // What the job is asked to do, LiveKit's own protocol says.
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
      // Holds the process until it is said, and no longer than this.
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
    // A warm worker gets its room; told twice when the supervisor was away.
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
    // A message that this kit does not know is of a later version, and passed over.
    else if (message.heard && Object.hasOwn(handle, message.heard.type))
      void handle[message.heard.type]?.(message.heard);
  });
  wire?.on('error', (error) => process.stderr.write(`curfew kit: ${textOf(error)}\n`));
  // The kit never keeps a process alive by itself.
  wire?.unref();

  return {
    supervised,
    job,
    ready: () => {
      if (supervised && job.sessionId === '' && callbacks.assign?.length === 0)
        process.stderr.write(`curfew kit: ${NO_ROOM}\n`);
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
  // The kit alone never keeps a process alive, and a warm one has nothing else to wait for.
  const waiting = setInterval(() => {}, 2 ** 30);
  let begun = false;
  const begin = async () => {
    if (begun) return;
    begun = true;
    try {
      const running = run(curfew.job, curfew);
      // Not before: one that fails at once never had the call.
      curfew.ready();
      await running;
      await curfew.closed();
      clearInterval(waiting);
    } catch (error) {
      // A crash, which curfew answers with another worker while a caller is there.
      process.stderr.write(`${textOf(error)}\n`);
      process.exit(1);
    }
  };
  curfew.onAssign(() => void begin());
  if (!curfew.supervised || curfew.job.sessionId !== '') void begin();
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
  // A job that is printed, or written as JSON, keeps its token out of the log.
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
