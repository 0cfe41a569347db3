/** Every worker's place: its one connection, of which the newer wins, and what is told of it. */
import type { UpdateJobStatus } from '@livekit/protocol';
import { ServerInfo_Edition } from '@livekit/protocol';
import type { WorkerId } from '../../../core/ids.ts';
import type { WorkerMessage } from '../../../core/model/control-protocol.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import type { Log } from '../../../ports/log.ts';
import type { StandInJob, StandInListener } from '../../../ports/stand-in.ts';
import type { AgentConnection, AgentConnectionListener } from './agent-connection.ts';
import type { FromWorker, ToWorker } from './agent-frames.ts';
import { AgentJob } from './agent-job.ts';
import type { JobFile } from './job-file.ts';

/** With these, the tests run. */
const TRIED = 'Python 1.8.9 and JavaScript 1.9.0';
const GOOD_BYE = 'curfew stops; the job goes on';

export class AgentHub implements AgentConnectionListener {
  readonly #log: Log;
  readonly #memory: JobFile;
  readonly #listener: StandInListener;
  readonly #links = new Set<AgentConnection>();
  readonly #seats = new Map<WorkerId, AgentJob>();
  #isClosed = false;

  constructor(options: { log: Log; memory: JobFile; listener: StandInListener }) {
    this.#log = options.log;
    this.#memory = options.memory;
    this.#listener = options.listener;
  }

  opened(link: AgentConnection): void {
    this.#links.add(link);
    if (this.#isClosed) link.end(GOOD_BYE);
  }

  assign(id: WorkerId, job: StandInJob): boolean {
    return this.#seats.get(id)?.assign(job) ?? false;
  }

  terminate(id: WorkerId): boolean {
    return this.#seats.get(id)?.terminate() ?? false;
  }

  close(): void {
    this.#isClosed = true;
    for (const seat of this.#seats.values()) seat.close();
    for (const link of this.#links) link.end(GOOD_BYE);
  }

  register(link: AgentConnection, version: string): void {
    void this.#register(link, version);
  }

  alive(link: AgentConnection): void {
    const seat = this.#seats.get(link.workerId);
    if (seat?.link === link) seat.heartbeat();
  }

  message(link: AgentConnection, message: FromWorker): void {
    const seat = this.#seats.get(link.workerId);
    if (seat?.link === link) seat.hear(message);
  }

  /** As its launcher says it, beside the connection. False: it is not connected, and it is not known whose job this is. */
  reported(id: WorkerId, status: UpdateJobStatus): boolean {
    const seat = this.#seats.get(id);
    if (seat === undefined || seat.link === null) return false;
    seat.hear({ case: 'updateJob', value: status });
    return true;
  }

  refused(link: AgentConnection, why: string): void {
    this.#log.warn({ worker: link.workerId, why }, 'a LiveKit agent was refused and its connection closed');
  }

  closed(link: AgentConnection): void {
    this.#links.delete(link);
    const seat = this.#seats.get(link.workerId);
    // One that was replaced by a newer connection is no news.
    if (seat?.link !== link) return;
    seat.link = null;
    this.#listener.closed(link.workerId);
    setTimeout(() => this.#forget(link.workerId, seat), STAND_IN.forgetMs).unref();
  }

  #forget(id: WorkerId, seat: AgentJob): void {
    if (seat.link !== null || this.#seats.get(id) !== seat) return;
    seat.close();
    this.#seats.delete(id);
  }

  async #register(link: AgentConnection, version: string): Promise<void> {
    const { workerId } = link;
    const known = this.#seats.get(workerId);
    const jobId = known === undefined ? await this.#memory.recall(workerId) : null;
    if (!link.isOpen || this.#isClosed) return;
    const seat = this.#seats.get(workerId) ?? this.#newSeat(workerId);
    if (jobId !== null) seat.resume(jobId);
    const older = seat.link;
    this.#seats.set(workerId, seat);
    // Whatever is said from now on waits for the welcome.
    seat.connected(link);
    if (!this.#listener.hello(workerId)) {
      seat.link = older;
      if (older === null) this.#seats.delete(workerId);
      link.refuse('no session of this supervisor has this worker now');
      return;
    }
    older?.end('a newer connection of this worker is there');
    this.#greet(workerId, version);
    link.welcome(registered(workerId));
  }

  #greet(worker: WorkerId, framework: string): void {
    const fields = { worker, framework };
    if (Number.parseInt(framework, 10) < STAND_IN.leastMajor)
      this.#log.warn(fields, `this version of LiveKit Agents is too old: tried were ${TRIED}`);
    else this.#log.debug(fields, 'a LiveKit agent is connected');
  }

  #newSeat(id: WorkerId): AgentJob {
    return new AgentJob({
      worker: id,
      log: this.#log,
      listener: {
        tell: (message) => this.#tell(id, message),
        assigned: (jobId) => this.#memory.keep(id, jobId),
      },
    });
  }

  /** In a turn of its own: whoever hears it may just be asking us. */
  #tell(id: WorkerId, message: WorkerMessage): void {
    queueMicrotask(() => this.#listener.message(id, message));
  }
}

function registered(id: WorkerId): ToWorker {
  return {
    case: 'register',
    value: {
      workerId: id,
      serverInfo: {
        edition: ServerInfo_Edition.Standard,
        version: STAND_IN.serverVersion,
        protocol: STAND_IN.protocol,
        nodeId: 'curfew',
        agentProtocol: STAND_IN.agentProtocol,
      },
    },
  };
}
