/** Keeps one connection and one job per worker, and reports their events. A newer connection replaces the older one. */
import type { UpdateJobStatus } from '@livekit/protocol';
import { JobType, ServerInfo_Edition } from '@livekit/protocol';
import type { WorkerId } from '../../../core/ids.ts';
import type { AgentAnswer } from '../../../core/model/agent-answer.ts';
import type { WorkerMessage } from '../../../core/model/control-protocol.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import type { Log } from '../../../ports/log.ts';
import type { AgentAccess, StandInJob, StandInListener } from '../../../ports/stand-in.ts';
import type { AgentConnection, AgentConnectionListener } from './agent-connection.ts';
import type { FromWorker, ToWorker } from './agent-frames.ts';
import { AgentJob } from './agent-job.ts';
import { BoundedNotes } from './bounded-notes.ts';
import type { JobFile } from './job-file.ts';

/** The versions of LiveKit Agents that the tests use. */
const TESTED_VERSIONS = 'Python 1.8.9 and JavaScript 1.9.0';
const NO_LAUNCHER =
  "curfew's launcher is not loaded in it; its command must keep PYTHONPATH and NODE_OPTIONS, and python must run without -I, -E and -S";
const NO_REASON = "curfew's launcher gave no reason";
const IN_WORKERS_LOG = "the worker's log says why";
const CLOSE_REASON = 'curfew stops; the job continues';

export class AgentHub implements AgentConnectionListener {
  readonly #log: Log;
  readonly #jobFile: JobFile;
  readonly #listener: StandInListener;
  readonly #connections = new Set<AgentConnection>();
  readonly #jobs = new Map<WorkerId, AgentJob>();
  /** Workers whose framework the launcher does not know. */
  readonly #unknown = new Set<WorkerId>();
  /** Workers that register under another name than their profile's, and the names of such profiles. */
  readonly #misnamed = new Set<WorkerId>();
  readonly #toldNames = new Set<string>();
  /** Workers that register for jobs of single participants. */
  readonly #mistyped = new Set<WorkerId>();
  /** An agent that connects endlessly must not flood curfew's log. */
  readonly #warnings = new BoundedNotes((worker, text) => this.#log.warn({ worker }, text));
  #isClosed = false;

  constructor(options: { log: Log; jobFile: JobFile; listener: StandInListener }) {
    this.#log = options.log;
    this.#jobFile = options.jobFile;
    this.#listener = options.listener;
  }

  opened(connection: AgentConnection): void {
    this.#connections.add(connection);
    if (this.#isClosed) connection.end(CLOSE_REASON);
  }

  offer(id: WorkerId, job: StandInJob): boolean {
    return this.#jobs.get(id)?.offer(job) ?? false;
  }

  admit(id: WorkerId, access: AgentAccess): boolean {
    return this.#jobs.get(id)?.admit(access) ?? false;
  }

  withdraw(id: WorkerId): void {
    this.#jobs.get(id)?.withdraw();
  }

  terminate(id: WorkerId): boolean {
    return this.#jobs.get(id)?.terminate() ?? false;
  }

  close(): void {
    this.#isClosed = true;
    for (const job of this.#jobs.values()) job.close();
    for (const connection of this.#connections) connection.end(CLOSE_REASON);
  }

  register(connection: AgentConnection, version: string): void {
    void this.#register(connection, version);
  }

  alive(connection: AgentConnection): void {
    const job = this.#jobs.get(connection.workerId);
    if (job?.connection === connection) job.heartbeat();
  }

  message(connection: AgentConnection, message: FromWorker): void {
    const job = this.#jobs.get(connection.workerId);
    if (job?.connection === connection) job.receive(message);
  }

  /** The job asked LiveKit to dial a phone. After a restart it can do so before its main process has connected again. */
  dialled(id: WorkerId): void {
    this.#report(id, { type: 'dialled' });
  }

  /** Takes a job status that the launcher sent by HTTP. False: the worker is not connected, so its job is unknown. */
  reported(id: WorkerId, status: UpdateJobStatus): boolean {
    const job = this.#jobs.get(id);
    if (job === undefined || job.connection === null) return false;
    job.receive({ case: 'updateJob', value: status });
    return true;
  }

  refused(connection: AgentConnection, why: string): void {
    this.#warnings.add(connection.workerId, `a LiveKit agent was refused and its connection closed: ${why}`);
  }

  closed(connection: AgentConnection): void {
    this.#connections.delete(connection);
    const job = this.#jobs.get(connection.workerId);
    // The worker has a newer connection, so it is still connected.
    if (job?.connection !== connection) return;
    job.connection = null;
    this.#listener.closed(connection.workerId);
    setTimeout(() => this.#forget(connection.workerId, job), STAND_IN.forgetMs).unref();
  }

  #forget(id: WorkerId, job: AgentJob): void {
    if (job.connection !== null || this.#jobs.get(id) !== job) return;
    job.close();
    this.#jobs.delete(id);
    this.#unknown.delete(id);
    this.#misnamed.delete(id);
    this.#mistyped.delete(id);
  }

  async #register(connection: AgentConnection, version: string): Promise<void> {
    const { workerId } = connection;
    const isKnown = this.#jobs.has(workerId);
    // A full disk has no file of the job. Then the launcher's word counts, or the worker would get its job twice.
    const jobId = isKnown
      ? null
      : ((await this.#jobFile.load(workerId)) ?? connection.launcher?.jobId ?? null);
    if (!connection.isOpen || this.#isClosed) return;
    const job = this.#jobs.get(workerId) ?? this.#newJob(workerId);
    if (jobId !== null) job.resume(jobId);
    const older = job.connection;
    this.#jobs.set(workerId, job);
    // The connection queues messages from now on until the welcome.
    job.connected(connection);
    if (!this.#listener.hello(workerId)) {
      job.connection = older;
      if (older === null) this.#jobs.delete(workerId);
      connection.refuse('no session of this supervisor has this worker now');
      return;
    }
    older?.end('the worker has opened a newer connection');
    this.#logVersion(workerId, version);
    this.#checkAccess(connection);
    this.#checkName(connection);
    this.#checkType(connection);
    connection.welcome(registered(workerId));
  }

  #logVersion(worker: WorkerId, framework: string): void {
    const [version = 'unknown'] = /^\d+(\.\d+)*/.exec(framework) ?? [];
    if (Number.parseInt(version, 10) < STAND_IN.leastMajor)
      this.#warnings.add(
        worker,
        `version ${version} of LiveKit Agents is too old; curfew is tested with ${TESTED_VERSIONS}`,
      );
    else this.#log.debug({ worker, framework: version }, 'a LiveKit agent is connected');
  }

  /** The agent has less than its profile grants. Both logs say so, once for each worker. */
  #checkAccess({ workerId: worker, launcher }: AgentConnection): void {
    if (this.#listener.accessOf(worker) !== 'full' || launcher?.access === 'full') return;
    if (this.#unknown.has(worker)) return;
    this.#unknown.add(worker);
    const why = launcher === null ? NO_LAUNCHER : launcher.why || NO_REASON;
    this.#log.warn(
      // Because: the agent's process writes the launcher's words, and they must not enter this log.
      { worker, event: 'framework_unknown', why: launcher === null ? NO_LAUNCHER : IN_WORKERS_LOG },
      'a LiveKit agent runs with livekit_access room',
    );
    this.#listener.note(
      worker,
      `framework_unknown: this agent runs with livekit_access: room instead of full: ${why}`,
    );
  }

  /** Each worker's log has the line. curfew's own log has one for each name of a profile. */
  #checkName({ workerId: worker, registration }: AgentConnection): void {
    const wanted = this.#listener.agentNameOf(worker);
    // An agent whose code has no name takes the name of its profile.
    const isSame = registration.agentName === '' || registration.agentName === wanted;
    if (wanted === null || isSame || this.#misnamed.has(worker)) return;
    this.#misnamed.add(worker);
    this.#listener.note(
      worker,
      `this agent registers as ${JSON.stringify(registration.agentName.slice(0, STAND_IN.errorChars))}, but agent_name of its profile is ${JSON.stringify(wanted)}: LiveKit's dispatch finds it by the name of the profile only`,
    );
    if (this.#toldNames.has(wanted)) return;
    this.#toldNames.add(wanted);
    // Because: the agent's process writes its name, and it must not enter this log.
    this.#log.warn(
      { worker, agentName: wanted },
      "a LiveKit agent registers under another name than agent_name of its profile; the worker's log has that name",
    );
  }

  /** LiveKit's other types mean one job for each participant. curfew has one worker for a room. */
  #checkType({ workerId: worker, registration: { type } }: AgentConnection): void {
    if (type === JobType.JT_ROOM || this.#mistyped.has(worker)) return;
    this.#mistyped.add(worker);
    this.#listener.note(
      worker,
      `this agent registers for jobs of type ${JobType[type] ?? type}: curfew gives it one job for its room, of type JT_ROOM and without a participant`,
    );
  }

  #newJob(id: WorkerId): AgentJob {
    return new AgentJob({
      worker: id,
      log: this.#log,
      listener: {
        message: (message) => this.#report(id, message),
        assigned: (jobId) => this.#jobFile.save(id, jobId),
        answered: (answer) =>
          queueMicrotask(() => this.#listener.answered(id, this.#withinAccess(id, answer))),
      },
    });
  }

  /** Because: the agent's process itself writes the launcher's headers. The profile decides. */
  #withinAccess(id: WorkerId, answer: AgentAnswer): AgentAnswer {
    if (answer.kind !== 'accepted') return answer;
    return { ...answer, agentGrant: answer.agentGrant && this.#listener.accessOf(id) === 'full' };
  }

  /** Race: the listener may be inside a call of this hub. So it gets the message in a microtask of its own. */
  #report(id: WorkerId, message: WorkerMessage): void {
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
