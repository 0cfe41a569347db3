/** One worker in the stand-in: its connection and its one job, which is offered, accepted, assigned or ended. */
import type { AvailabilityResponse } from '@livekit/protocol';
import { JobStatus, WorkerStatus } from '@livekit/protocol';
import type { Acceptance, AgentAnswer } from '../../../core/model/agent-answer.ts';
import type { WorkerMessage } from '../../../core/model/control-protocol.ts';
import { jobExitText } from '../../../core/model/endings.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import { CHANNEL } from '../../../lib/limits/worker-limits.ts';
import { Throttle } from '../../../lib/throttle.ts';
import type { Log } from '../../../ports/log.ts';
import type { AgentAccess, StandInJob } from '../../../ports/stand-in.ts';
import type { AgentConnection } from './agent-connection.ts';
import type { FromWorker } from './agent-frames.ts';
import { toAcceptance, toJob } from './agent-job-frames.ts';

type Work =
  | { readonly is: 'none' }
  /** The worker has not agreed yet. */
  | { readonly is: 'asked'; readonly job: StandInJob; readonly wasRefused: boolean }
  /** The worker waits for its room. */
  | { readonly is: 'accepted'; readonly job: StandInJob; readonly acceptance: Acceptance }
  | { readonly is: 'assigned'; readonly jobId: string }
  | { readonly is: 'ended' };

export interface AgentJobListener {
  message(message: WorkerMessage): void;
  answered(answer: AgentAnswer): void;
  /** The worker has this job from now on. A restart must know it too. */
  assigned(jobId: string): void;
}

export class AgentJob {
  readonly #log: Log;
  readonly #logFields: { readonly worker: string };
  readonly #listener: AgentJobListener;
  connection: AgentConnection | null = null;
  #work: Work = { is: 'none' };
  /** By its own measure the worker takes no job now. */
  #isFull = false;
  #offerTimer: NodeJS.Timeout | null = null;
  /** Heartbeats that follow too closely add no information. */
  readonly #heartbeats = new Throttle(CHANNEL.heartbeatMinMs);
  /** The exception that ended the entrypoint, as the launcher reports it before the end of the job; `null`: none. */
  #raised: string | null = null;

  constructor(options: { worker: string; log: Log; listener: AgentJobListener }) {
    this.#logFields = { worker: options.worker };
    this.#log = options.log;
    this.#listener = options.listener;
  }

  /** The worker got this job from an earlier supervisor. */
  resume(jobId: string): void {
    if (this.#work.is === 'none') this.#work = { is: 'assigned', jobId };
  }

  /** Repeats the offer over a new connection, because the worker may not have received it over the old one. */
  connected(connection: AgentConnection): void {
    this.connection = connection;
    const work = this.#work;
    if (work.is !== 'asked' && work.is !== 'accepted') return;
    this.#work = { is: 'asked', job: work.job, wasRefused: false };
    this.#offer(work.job);
  }

  offer(job: StandInJob): boolean {
    if (this.connection === null) return false;
    switch (this.#work.is) {
      case 'assigned':
        // The worker has the job of another session.
        if (!isSameJob(this.#work.jobId, job)) return false;
        this.#listener.message({ type: 'ready' });
        return true;
      case 'asked':
        if (this.#work.job.id !== job.id) return this.#ask(job);
        this.#work = { ...this.#work, job };
        return true;
      case 'accepted':
        if (this.#work.job.id !== job.id) return this.#ask(job);
        this.#work = { ...this.#work, job };
        this.#listener.answered(this.#work.acceptance);
        return true;
      case 'ended':
        return false;
      case 'none':
        return this.#ask(job);
    }
  }

  /** Race: the worker has connected again since its answer. Then it is asked again, and admitted after that answer. */
  admit({ url, token }: AgentAccess): boolean {
    const work = this.#work;
    if (work.is !== 'accepted' || this.connection === null) return false;
    const { job } = work;
    // Only the token names the agent's identity in the room.
    const value = { job: toJob(job, this.connection), url, token };
    if (!this.connection.send({ case: 'assignment', value })) return false;
    this.#work = { is: 'assigned', jobId: job.id };
    this.#listener.assigned(job.id);
    this.#listener.message({ type: 'ready' });
    return true;
  }

  /** The framework gives an accepted job up when no assignment follows. */
  withdraw(): void {
    if (this.#work.is !== 'asked' && this.#work.is !== 'accepted') return;
    this.close();
    this.#work = { is: 'none' };
  }

  #ask(job: StandInJob): boolean {
    if (!this.#offer(job)) return false;
    this.#work = { is: 'asked', job, wasRefused: false };
    return true;
  }

  terminate(): boolean {
    if (this.connection === null) return false;
    if (this.#work.is === 'assigned')
      return this.connection.send({ case: 'termination', value: { jobId: this.#work.jobId } });
    // The worker has no job, so no message would end it.
    this.#end();
    this.#listener.message({ type: 'closed' });
    return true;
  }

  receive(message: FromWorker): void {
    switch (message.case) {
      case 'availability':
        this.#answered(message.value);
        break;
      case 'updateJob':
        this.#reported(message.value);
        break;
      case 'migrateJob':
        for (const jobId of message.value.jobIds.slice(0, 1)) this.#runs(jobId);
        this.heartbeat();
        break;
      case 'updateWorker':
        this.#isFull = message.value.status === WorkerStatus.WS_FULL;
        this.heartbeat();
        break;
      case 'ping':
        this.heartbeat();
        break;
      case 'register':
      case 'simulateJob':
      case undefined:
        break;
    }
  }

  /** Race: a supervisor that did not know of the job may have offered it again before the worker could name it. */
  #runs(jobId: string): void {
    const work = this.#work;
    const isOffered = (work.is === 'asked' || work.is === 'accepted') && isSameJob(jobId, work.job);
    if (isOffered) {
      this.close();
      this.#work = { is: 'assigned', jobId };
      this.#listener.message({ type: 'ready' });
    } else this.resume(jobId);
  }

  /** Stops further offers. */
  close(): void {
    if (this.#offerTimer !== null) clearTimeout(this.#offerTimer);
    this.#offerTimer = null;
  }

  #offer(job: StandInJob): boolean {
    this.close();
    if (this.connection === null) return false;
    return this.connection.send({ case: 'availability', value: { job: toJob(job, this.connection) } });
  }

  #answered(response: AvailabilityResponse): void {
    const work = this.#work;
    if (work.is !== 'asked' || response.jobId !== work.job.id || this.connection === null) return;
    this.close();
    if (response.available) {
      const acceptance = toAcceptance(response, work.job, this.connection);
      this.#work = { is: 'accepted', job: work.job, acceptance };
      this.#listener.answered(acceptance);
    } else if (this.#isFull && this.connection.refusesByLoad && !response.terminate) this.#offerLater(work);
    else {
      this.#work = { is: 'none' };
      this.#listener.answered({ kind: 'rejected', isFinal: response.terminate });
    }
  }

  /** Because: a framework that measures too much load refuses without a question to the agent. LiveKit would ask again, too. */
  #offerLater(work: Extract<Work, { is: 'asked' }>): void {
    if (!work.wasRefused)
      this.#log.warn(
        this.#logFields,
        'the agent has too much load by its own measure; curfew offers the job again until the agent accepts',
      );
    this.#work = { ...work, wasRefused: true };
    this.#offerTimer = setTimeout(() => {
      if (this.#work.is === 'asked') this.#offer(this.#work.job);
    }, STAND_IN.askAgainMs);
  }

  #reported({ jobId, status, error }: { jobId: string; status: JobStatus; error: string }): void {
    if (this.#work.is === 'ended' || (this.#work.is === 'assigned' && this.#work.jobId !== jobId)) return;
    const hasEnded = status === JobStatus.JS_SUCCESS || status === JobStatus.JS_FAILED;
    if (!hasEnded) {
      if (error === '') this.heartbeat();
      else this.#raise(error);
      return;
    }
    this.#end();
    this.#listener.message(messageForEnd(status, { error, raised: this.#raised }));
  }

  /** The session hears of it at once. Because: the agent leaves the room before its job ends, and would look as if it were done. */
  #raise(error: string): void {
    this.#raised = error;
    this.#listener.message({ ...failedBy(error), endsLater: true });
  }

  #end(): void {
    this.close();
    this.#work = { is: 'ended' };
  }

  heartbeat(): void {
    if (this.#heartbeats.passes()) this.#listener.message({ type: 'heartbeat' });
  }
}

/** 0.1.0 gave each worker a job id of its own: the id of the session and the attempt. */
function isSameJob(jobId: string, { id }: StandInJob): boolean {
  return jobId === id || /^\.\d+$/.test(jobId.startsWith(id) ? jobId.slice(id.length) : '');
}

/** The JavaScript framework's reason after an exception in the entrypoint. */
const JOB_CRASHED = 'job crashed';
/** The launchers' words for the end of the job's process: its exit code or its signal, and whether the framework sent the signal. */
const JOB_ENDED =
  /^job process ended: (?:(?<code>\d{1,3})|(?<signal>SIG[A-Z0-9]{1,10}))(?<sender> by the framework)?$/;
type JobExit = Readonly<Record<'code' | 'signal' | 'sender', string | null>>;

function failedBy(raised: string): Extract<WorkerMessage, { type: 'failed' }> {
  return { type: 'failed', message: raised.slice(0, STAND_IN.errorChars), raised: true };
}

/** The message to the session about the end of its job. */
function messageForEnd(
  status: JobStatus,
  { error, raised }: { error: string; raised: string | null },
): WorkerMessage {
  // With the thread executor Python reports a success after an exception.
  if (raised !== null) return failedBy(raised);
  if (status === JobStatus.JS_SUCCESS) return { type: 'closed' };
  const exit = JOB_ENDED.exec(error)?.groups;
  if (exit !== undefined) return messageForExit(exit);
  const why = error === '' ? 'the agent reported its job as failed' : error;
  const isRaised = error === JOB_CRASHED || error.startsWith(`${JOB_CRASHED}: `);
  return { type: 'failed', message: why.slice(0, STAND_IN.errorChars), ...(isRaised && { raised: true }) };
}

/** An exit code is the work of the agent's own code, as an exception is. The next worker runs the same code. */
function messageForExit({ code = null, signal = null, sender }: Partial<JobExit>): WorkerMessage {
  const exit = { code: code === null ? null : Number(code), signal };
  const message = jobExitText(exit, sender !== undefined);
  return { type: 'failed', message, ...(code !== null && { raised: true }) };
}
