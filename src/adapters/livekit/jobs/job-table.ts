/** The jobs that were offered: each is asked once, answered in time and assigned once, whatever the server repeats. */
import { CurfewError } from '../../../lib/errors.ts';
import { JOBS } from '../../../lib/limits/livekit-limits.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Job, JobAnswer, JobLoss, JobStatus, JobsListener } from '../../../ports/jobs.ts';
import type { Log } from '../../../ports/log.ts';
import type { Dispatch, IsDeleted } from './deleted-dispatch.ts';
import type { Connection } from './job-connection.ts';
import type { OfferedJob, ServerFrame } from './job-frames.ts';
import { answerFrame, reportFrame } from './job-frames.ts';

/** Where a job came from. */
export interface Source {
  readonly agentName: string;
  readonly connection: Connection;
}

interface Entry {
  source: Source;
  readonly dispatch: Dispatch;
  /** Never rejects, and comes in time. */
  readonly answer: Promise<JobAnswer>;
  /** `late`: refused because the listener took too long; it may still answer. */
  state: 'asked' | 'late' | 'accepted' | 'assigned' | 'over';
  changedMs: number;
  /** What is due next: the answer, or the assignment. */
  cancel: () => void;
}

export class JobTable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #isDeleted: IsDeleted;
  readonly #entries = new Map<string, Entry>();
  #listener: JobsListener | null = null;
  #isClosed = false;

  constructor({ clock, log, isDeleted }: { clock: Clock; log: Log; isDeleted: IsDeleted }) {
    this.#clock = clock;
    this.#log = log;
    this.#isDeleted = isDeleted;
  }

  listen(listener: JobsListener): void {
    this.#listener = listener;
  }

  /** Nothing is told from now on. */
  close(): void {
    this.#isClosed = true;
    this.#listener = null;
    for (const entry of this.#entries.values()) entry.cancel();
  }

  read(source: Source, frame: ServerFrame): void {
    switch (frame.type) {
      case 'availability':
        void this.#offered(source, frame.job);
        return;
      case 'assignment':
        this.#assigned(source, frame.jobId);
        return;
      case 'termination':
        void this.#terminated(frame.jobId);
        return;
      case 'register':
      case 'other':
    }
  }

  /** `present`: the connection of a name as it is now. */
  report(
    jobId: string,
    report: { status: JobStatus; error: string | null },
    present: (agentName: string) => Connection | null,
  ): void {
    const entry = this.#entries.get(jobId);
    const frame = reportFrame(jobId, report);
    const isSent =
      entry !== undefined &&
      (entry.source.connection.send(frame) || present(entry.source.agentName)?.send(frame) === true);
    if (!isSent) this.#log.debug({ job: jobId, status: report.status }, 'a job could not be reported');
    if (entry !== undefined && report.status !== 'running') this.#set(entry, 'over');
  }

  async #offered(source: Source, offered: OfferedJob): Promise<void> {
    const job = this.#toJob(source, offered);
    if (job === null) {
      source.connection.send(answerFrame(offered.id, { accepted: false, why: 'not a room' }));
      return;
    }
    const entry = this.#known(job.id) ?? this.#ask(source, job, offered.dispatchId);
    if (entry.state !== 'assigned') entry.source = source;
    const answer = await entry.answer;
    const isSent = source.connection.send(answerFrame(job.id, answer));
    if (!answer.accepted)
      this.#log.info({ job: job.id, agent: source.agentName, why: answer.why }, 'a job was refused');
    else if (!isSent && entry.state === 'accepted' && entry.source === source)
      this.#takeBack(job.id, entry, 'unsent');
  }

  /** null: no job that an agent of one room could do. */
  #toJob({ agentName }: Source, { id, type, room, metadata, attributes }: OfferedJob): Job | null {
    if (type === 'JT_ROOM' && room !== undefined) return { id, agentName, room, metadata, attributes };
    this.#log.warn({ job: id, agent: agentName, type }, 'a job was refused: only jobs for a room are taken');
    return null;
  }

  /** What was over is a new job, should its id come again. */
  #known(jobId: string): Entry | null {
    const entry = this.#entries.get(jobId);
    return entry === undefined || entry.state === 'over' ? null : entry;
  }

  #ask(source: Source, job: Job, dispatchId: string): Entry {
    this.#prune();
    const { promise, resolve } = Promise.withResolvers<JobAnswer>();
    const entry: Entry = {
      source,
      dispatch: { id: dispatchId, room: job.room.name },
      answer: promise,
      state: 'asked',
      changedMs: 0,
      cancel: () => undefined,
    };
    this.#entries.set(job.id, entry);
    this.#set(entry, 'asked');
    this.#alarm(entry, JOBS.answerMs, () => {
      this.#log.error({ job: job.id, agent: job.agentName }, 'a job was refused: the decision took too long');
      this.#set(entry, 'late');
      resolve({ accepted: false, why: 'the decision took too long' });
    });
    void this.#decide(job).then((answer) => {
      this.#decided(entry, job.id, answer);
      resolve(answer);
    });
    return entry;
  }

  async #decide(job: Job): Promise<JobAnswer> {
    try {
      return (await this.#listener?.offered(job)) ?? { accepted: false, why: 'nobody decides' };
    } catch (error) {
      // The words of an error may name the room.
      const why = error instanceof CurfewError ? error.code : error instanceof Error ? error.name : 'unknown';
      this.#log.error({ job: job.id, agent: job.agentName, why }, 'a job was refused: the decision failed');
      return { accepted: false, why: 'the decision failed' };
    }
  }

  #decided(entry: Entry, jobId: string, answer: JobAnswer): void {
    if (this.#isClosed) return;
    // One that was refused may be offered again, with better luck.
    if (!answer.accepted) this.#forget(jobId, entry);
    else if (entry.state === 'late') this.#takeBack(jobId, entry, 'late');
    else {
      this.#set(entry, 'accepted');
      this.#alarm(entry, JOBS.assignMs, () => this.#noteUnassigned(jobId, entry));
    }
  }

  /** It was accepted, but LiveKit does not know that, and who accepted it must. */
  #takeBack(jobId: string, entry: Entry, why: JobLoss): void {
    this.#log.info({ job: jobId, agent: entry.source.agentName, why }, 'an accepted job was taken back');
    this.#forget(jobId, entry);
    this.#listener?.withdrawn(jobId, why);
  }

  /** LiveKit has heard the yes: whoever gave it has begun without the assignment, or will, and reports as ever. */
  #noteUnassigned(jobId: string, entry: Entry): void {
    this.#log.info({ job: jobId, agent: entry.source.agentName }, 'an accepted job was never assigned');
  }

  #forget(jobId: string, entry: Entry): void {
    entry.cancel();
    if (this.#entries.get(jobId) === entry) this.#entries.delete(jobId);
  }

  #assigned(source: Source, jobId: string): void {
    const entry = this.#entries.get(jobId);
    if (entry?.state === 'accepted') {
      entry.source = source;
      this.#set(entry, 'assigned');
      this.#listener?.assigned(jobId);
    } else if (entry?.state === 'assigned') entry.source = source;
    else
      this.#log.warn({ job: jobId, agent: source.agentName }, 'LiveKit assigned a job that was not accepted');
  }

  /** LiveKit has forgotten the job; only when its dispatch was deleted is the call over too. */
  async #terminated(jobId: string): Promise<void> {
    const entry = this.#entries.get(jobId);
    if (entry === undefined) return;
    this.#set(entry, 'over');
    const isDeleted = await this.#isDeleted(entry.dispatch);
    const fields = { job: jobId, agent: entry.source.agentName };
    if (isDeleted === true) this.#listener?.terminated(jobId);
    else if (isDeleted === false)
      this.#log.info(fields, 'LiveKit has ended a job whose agent left the room or joined it anew');
    else this.#log.info(fields, 'LiveKit has ended a job, and did not tell whether its dispatch was deleted');
  }

  #alarm(entry: Entry, delayMs: number, callback: () => void): void {
    entry.cancel = this.#clock.at(entry.changedMs + delayMs, callback);
  }

  #set(entry: Entry, state: Entry['state']): void {
    entry.cancel();
    entry.state = state;
    entry.changedMs = this.#clock.now().bootMs;
  }

  /** Running jobs are kept until their end is reported, all others for a while. */
  #prune(): void {
    const keptFromMs = this.#clock.now().bootMs - JOBS.keepMs;
    for (const [id, entry] of this.#entries)
      if (entry.state !== 'assigned' && entry.changedMs < keptFromMs) this.#forget(id, entry);
    const [oldest] = this.#entries;
    if (oldest !== undefined && this.#entries.size >= JOBS.kept) this.#forget(...oldest);
  }
}
