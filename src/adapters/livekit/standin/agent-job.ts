/** One worker as the stand-in knows it: its connection, and the one job that it is asked to take, has, or had. */
import { Job, JobStatus, JobType } from '@livekit/protocol';
import type { WorkerMessage } from '../../../core/model/control-protocol.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import { CHANNEL } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import type { StandInJob } from '../../../ports/stand-in.ts';
import type { AgentConnection } from './agent-connection.ts';
import type { FromWorker } from './agent-frames.ts';

type Work =
  | { readonly is: 'none' }
  /** The worker has not agreed yet. */
  | { readonly is: 'asked'; readonly job: StandInJob; readonly wasRefused: boolean }
  | { readonly is: 'assigned'; readonly jobId: string }
  | { readonly is: 'ended' };

export interface AgentJobListener {
  tell(message: WorkerMessage): void;
  /** The worker has this job from now on: what a restart must know again. */
  assigned(jobId: string): void;
}

export class AgentJob {
  readonly #log: Log;
  readonly #name: { readonly worker: string };
  readonly #listener: AgentJobListener;
  link: AgentConnection | null = null;
  #work: Work = { is: 'none' };
  #askTimer: NodeJS.Timeout | null = null;
  #heartbeatMs = Number.NEGATIVE_INFINITY;

  constructor(options: { worker: string; log: Log; listener: AgentJobListener }) {
    this.#name = { worker: options.worker };
    this.#log = options.log;
    this.#listener = options.listener;
  }

  /** It had this job before this supervisor knew of it. */
  resume(jobId: string): void {
    if (this.#work.is === 'none') this.#work = { is: 'assigned', jobId };
  }

  /** A connection that may not have heard what was asked over the one before. */
  connected(link: AgentConnection): void {
    this.link = link;
    if (this.#work.is === 'asked') this.#ask(this.#work.job);
  }

  assign(job: StandInJob): boolean {
    if (this.link === null) return false;
    switch (this.#work.is) {
      case 'assigned':
        // Another session's: it has not taken this one.
        if (this.#work.jobId !== job.id) return false;
        this.#listener.tell({ type: 'ready' });
        return true;
      case 'asked':
        this.#work = { ...this.#work, job };
        return true;
      case 'ended':
        return false;
      case 'none':
        if (!this.#ask(job)) return false;
        this.#work = { is: 'asked', job, wasRefused: false };
        return true;
    }
  }

  terminate(): boolean {
    if (this.link === null) return false;
    if (this.#work.is === 'assigned')
      return this.link.send({ case: 'termination', value: { jobId: this.#work.jobId } });
    // It has no job that it could end.
    this.#end();
    this.#listener.tell({ type: 'closed' });
    return true;
  }

  hear(message: FromWorker): void {
    switch (message.case) {
      case 'availability':
        this.#answered(message.value);
        break;
      case 'updateJob':
        this.#reported(message.value);
        break;
      case 'migrateJob':
        for (const jobId of message.value.jobIds.slice(0, 1)) this.resume(jobId);
        this.heartbeat();
        break;
      case 'updateWorker':
      case 'ping':
        this.heartbeat();
        break;
      case 'register':
      case 'simulateJob':
      case undefined:
        break;
    }
  }

  /** Nothing is asked any more. */
  close(): void {
    if (this.#askTimer !== null) clearTimeout(this.#askTimer);
    this.#askTimer = null;
  }

  #ask(job: StandInJob): boolean {
    this.close();
    return this.link?.send({ case: 'availability', value: { job: toJob(job) } }) ?? false;
  }

  #answered({ jobId, available }: { jobId: string; available: boolean }): void {
    const work = this.#work;
    if (work.is !== 'asked' || jobId !== work.job.id || this.link === null) return;
    if (!available) {
      this.#askLater(work);
      return;
    }
    const { job } = work;
    // Who the agent is in the room, the token alone says.
    const value = { job: toJob(job), url: job.url, token: job.token };
    if (!this.link.send({ case: 'assignment', value })) return;
    this.#work = { is: 'assigned', jobId };
    this.close();
    this.#listener.assigned(jobId);
    this.#listener.tell({ type: 'ready' });
  }

  #askLater(work: Extract<Work, { is: 'asked' }>): void {
    if (!work.wasRefused)
      this.#log.warn(this.#name, 'the agent says that it takes no job now; it is asked again until it does');
    this.#work = { ...work, wasRefused: true };
    this.close();
    this.#askTimer = setTimeout(() => {
      if (this.#work.is === 'asked') this.#ask(this.#work.job);
    }, STAND_IN.askAgainMs);
  }

  #reported({ jobId, status, error }: { jobId: string; status: JobStatus; error: string }): void {
    if (this.#work.is === 'ended' || (this.#work.is === 'assigned' && this.#work.jobId !== jobId)) return;
    const hasEnded = status === JobStatus.JS_SUCCESS || status === JobStatus.JS_FAILED;
    if (!hasEnded) {
      this.heartbeat();
      return;
    }
    this.#end();
    this.#listener.tell(endingOf(status, error));
  }

  #end(): void {
    this.close();
    this.#work = { is: 'ended' };
  }

  /** Many at once say no more than one. */
  heartbeat(): void {
    const nowMs = performance.now();
    if (nowMs - this.#heartbeatMs < CHANNEL.heartbeatMinMs) return;
    this.#heartbeatMs = nowMs;
    this.#listener.tell({ type: 'heartbeat' });
  }
}

/** What the end of a job is for its session. */
function endingOf(status: JobStatus, error: string): WorkerMessage {
  if (status === JobStatus.JS_SUCCESS) return { type: 'closed' };
  const why = error === '' ? 'the agent reported its job as failed' : error;
  return { type: 'failed', message: why.slice(0, STAND_IN.errorChars) };
}

function toJob({ id, room, metadata, attributes, agentName }: StandInJob): Job {
  return new Job({
    id,
    dispatchId: `AD_${id}`,
    type: JobType.JT_ROOM,
    room: { name: room.name, sid: room.sid ?? '' },
    metadata,
    attributes: { ...attributes },
    agentName,
  });
}
