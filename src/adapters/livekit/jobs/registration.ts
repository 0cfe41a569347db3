/** The registration of one agent name: reconnects forever with backoff, and reports this host's load to LiveKit. */
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
  /** The state that the log shows. It is reset only after a steady connection, so that the log does not repeat. */
  #logged: { reason: string | null; registered: boolean; garbage: boolean; agentProtocol: number } = {
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
      garbage: () => this.#logGarbage(),
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
    if (!this.#logged.registered)
      this.#options.log.info(
        { ...this.#logFields, livekit: version },
        'registered with LiveKit for its dispatches',
      );
    this.#logged.registered = true;
    if (agentProtocol !== this.#logged.agentProtocol)
      this.#options.log.warn(
        { ...this.#logFields, agentProtocol },
        `LiveKit uses another version of the agent protocol than ${JOBS.agentProtocol}; calls may fail; update curfew or LiveKit`,
      );
    this.#logged.agentProtocol = agentProtocol;
    this.#sendLoad();
  }

  #beat(isHeard: boolean): void {
    const registeredMs = this.#options.clock.now().bootMs - this.#since.bootMs;
    if (isHeard && registeredMs >= JOBS.steadyMs) {
      this.#failures = 0;
      this.#logged = { ...this.#logged, reason: null, garbage: false };
    }
    this.#sendLoad();
  }

  #sendLoad(): void {
    this.connection?.send(loadFrame(this.#load));
  }

  #logGarbage(): void {
    if (!this.#logged.garbage)
      this.#options.log.warn(
        this.#logFields,
        'LiveKit sent a frame that cannot be parsed; curfew ignores it',
      );
    this.#logged.garbage = true;
  }

  /** Logs a reason that repeats only once. */
  #ended(reason: string): void {
    const { clock, log } = this.#options;
    if (this.#isClosed) return;
    this.#connection = null;
    this.#since = clock.now();
    this.#error = reason;
    if (reason !== this.#logged.reason) {
      log.warn(this.#logFields, `not registered for LiveKit's dispatches: ${reason}`);
      this.#logged = { ...this.#logged, reason, registered: false };
    }
    const waitMs = Math.min(JOBS.retryMaxMs, JOBS.retryFirstMs * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, JOBS.retryDoublings);
    const jitteredMs = waitMs * (1 - JOBS.retryJitter * Math.random());
    this.#cancelRetry = clock.at(this.#since.bootMs + jitteredMs, () => this.connect());
  }

  get #logFields(): { agent: string } {
    return { agent: this.#options.agentName };
  }
}
