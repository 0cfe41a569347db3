/** The job of this process, as the launcher tells curfew of it: AgentSessions, running tools, and a blocked event loop. */
import workerThreads from 'node:worker_threads';
import { report } from '../attach.mjs';
import { connect } from '../curfew.mjs';
import { note } from '../note.mjs';

const MESSAGE_CHARS = 4000;
/** The main thread gets a ping in this interval. A ping without an answer for the other two bounds is a blocked event loop. */
const WATCH = { everyMs: 1000, blockedMs: 5000, secondChanceMs: 500 };

/** One for this process. It connects with the first AgentSession, unless the agent's own code has connected. */
export class JobReport {
  #curfew = null;
  /** The thread of the connection, also of a kit in the agent's own code. */
  #wire = null;
  #isOwn = false;
  #isConnecting = false;
  #open = new Set();
  #known = new WeakSet();
  #tools = 0;

  opened(session) {
    this.#connect();
    if (!this.#known.has(session)) {
      this.#known.add(session);
      if (this.#isOwn) report(session, this.#curfew, { informs: true });
      session.on('close', (event) => this.#close(session, safelyDescribed(event)));
    }
    this.#open.add(session);
    this.#tellSessions();
  }

  notStarted(session) {
    this.#close(session, { reason: 'not_started' });
  }

  toolsRunning(change) {
    this.#tools += change;
    this.#wire?.postMessage({ tools: this.#tools });
  }

  /** The options for the thread of a kit: the launcher's own one has a name of its own, and watches the event loop. */
  optionsFor(options) {
    if (!this.#isConnecting) return options;
    return { ...options, workerData: { ...options.workerData, client: 'node-launcher', watches: WATCH } };
  }

  /** A kit has connected. Two connections of one worker would replace each other for ever. */
  use(wire) {
    if (this.#isOwn && !this.#isConnecting) this.#wire?.postMessage({ retire: true });
    this.#isOwn = this.#isConnecting;
    this.#wire = wire;
    if (!this.#isOwn && this.#open.size > 0) this.#tellSessions();
  }

  #connect() {
    if (this.#wire !== null) return;
    this.#isConnecting = true;
    try {
      this.#curfew = connect({ exitOnDisconnect: false });
    } finally {
      this.#isConnecting = false;
    }
  }

  #close(session, closed) {
    if (!this.#open.delete(session)) return;
    this.#tellSessions(closed);
    if (this.#open.size > 0) return;
    const follows =
      closed.reason === 'participant_disconnected'
        ? 'because its caller left'
        : 'so the agent answers nobody';
    note(`curfew: the last AgentSession of the job has closed (${closed.reason}), ${follows}`);
  }

  #tellSessions(closed) {
    const state = { type: 'agent_session', open: this.#open.size, ...(closed !== undefined && { closed }) };
    this.#wire?.postMessage({ state, repeats: true });
  }
}

/** The thread of each kit is created with the worker's own name and token, in every version of the kit. */
export function watchKits(job) {
  workerThreads.Worker = new Proxy(workerThreads.Worker, {
    construct(Worker, [file, options, ...rest], newTarget) {
      const isKit = options?.workerData?.worker === process.env.CURFEW_WORKER && options.workerData.token;
      const given = isKit ? job.optionsFor(options) : options;
      const thread = Reflect.construct(Worker, [file, given, ...rest], newTarget);
      if (isKit) job.use(thread);
      return thread;
    },
  });
}

/** The emitter of the framework must not see an exception. */
function safelyDescribed(event) {
  try {
    return described(event);
  } catch (error) {
    note(`curfew: the end of an AgentSession could not be read: ${error}`);
    return { reason: 'unknown' };
  }
}

function described({ reason, error }) {
  const closed = { reason: `${reason ?? 'unknown'}`.slice(0, 40) };
  if (!error) return closed;
  const cause = error.error ?? error;
  const provider = error.label ?? error.type ?? cause.name ?? 'unknown';
  const text = `${cause}`;
  const message = text.includes(cause.name) ? text : `${cause.name}: ${text}`;
  return { ...closed, provider: `${provider}`.slice(0, 200), message: message.slice(0, MESSAGE_CHARS) };
}
