/** One agent name's registration: connects for ever with backoff, and keeps LiveKit informed of how full this host is. */
import type { Stamp } from '../../../core/ids.ts';
import { JOBS } from '../../../lib/limits/livekit-limits.ts';
import type { JobLoad, JobsStatus } from '../../../ports/jobs.ts';
import type { Log } from '../../../ports/log.ts';
import type { ConnectionOptions } from './job-connection.ts';
import { Connection } from './job-connection.ts';
import type { ServerFrame } from './job-frames.ts';
import { loadFrame } from './job-frames.ts';

export interface RegistrationOptions extends ConnectionOptions {
  readonly log: Log;
  readonly onFrame: (connection: Connection, frame: ServerFrame) => void;
}

export class Registration {
  readonly #options: RegistrationOptions;
  #connection: Connection | null = null;
  #isClosed = false;
  #since: Stamp;
  #error: string | null = null;
  #failures = 0;
  #cancelRetry: () => void = () => undefined;
  /** What was said in the log, and holds until a connection was steady. */
  #said: { reason: string | null; registered: boolean; garbage: boolean; agentProtocol: number } = {
    reason: null,
    registered: false,
    garbage: false,
    agentProtocol: JOBS.agentProtocol,
  };
  #load: JobLoad = { load: 0, full: false, jobs: 0 };

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.#since = options.clock.now();
  }

  get connection(): Connection | null {
    return this.#connection?.isRegistered === true ? this.#connection : null;
  }

  get status(): JobsStatus {
    const isRegistered = this.connection !== null;
    return {
      agentName: this.#options.agentName,
      state: isRegistered ? 'registered' : 'connecting',
      since: this.#since,
      error: isRegistered ? null : this.#error,
    };
  }

  connect(): void {
    if (this.#isClosed) return;
    const connection: Connection = new Connection(this.#options, {
      registered: (info) => this.#registered(info),
      frame: (frame) => this.#options.onFrame(connection, frame),
      garbage: () => this.#noteGarbage(),
      beat: (isHeard) => this.#beat(isHeard),
      ended: (reason) => this.#ended(reason),
    });
    this.#connection = connection;
  }

  setLoad(load: JobLoad): void {
    const { load: share, full, jobs } = this.#load;
    if (load.load === share && load.full === full && load.jobs === jobs) return;
    this.#load = load;
    this.#sendLoad();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRetry();
    await this.#connection?.close();
  }

  #registered({ agentProtocol, version }: { agentProtocol: number; version: string }): void {
    this.#since = this.#options.clock.now();
    if (!this.#said.registered)
      this.#options.log.info(
        { ...this.#who, livekit: version },
        'registered with LiveKit for its dispatches',
      );
    this.#said.registered = true;
    if (agentProtocol !== this.#said.agentProtocol)
      this.#options.log.warn(
        { ...this.#who, agentProtocol },
        `LiveKit speaks another version of the agent protocol than ${JOBS.agentProtocol}, which this was made for: calls may fail`,
      );
    this.#said.agentProtocol = agentProtocol;
    this.#sendLoad();
  }

  #beat(isHeard: boolean): void {
    const registeredMs = this.#options.clock.now().bootMs - this.#since.bootMs;
    if (isHeard && registeredMs >= JOBS.steadyMs) {
      this.#failures = 0;
      this.#said = { ...this.#said, reason: null, garbage: false };
    }
    this.#sendLoad();
  }

  #sendLoad(): void {
    this.connection?.send(loadFrame(this.#load));
  }

  #noteGarbage(): void {
    if (!this.#said.garbage)
      this.#options.log.warn(this.#who, 'LiveKit sent a frame that cannot be read; it is ignored');
    this.#said.garbage = true;
  }

  /** The same reason again and again is said once. */
  #ended(reason: string): void {
    const { clock, log } = this.#options;
    if (this.#isClosed) return;
    this.#connection = null;
    this.#since = clock.now();
    this.#error = reason;
    if (reason !== this.#said.reason) {
      log.warn(this.#who, `not registered for LiveKit's dispatches: ${reason}`);
      this.#said = { ...this.#said, reason, registered: false };
    }
    const waitMs = Math.min(JOBS.retryMaxMs, JOBS.retryFirstMs * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, JOBS.retryDoublings);
    const jitteredMs = waitMs * (1 - JOBS.retryJitter * Math.random());
    this.#cancelRetry = clock.at(this.#since.bootMs + jitteredMs, () => this.connect());
  }

  get #who(): { agent: string } {
    return { agent: this.#options.agentName };
  }
}
