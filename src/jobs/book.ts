/** The jobs that were offered: each is asked once, answered in time and assigned once, whatever the server repeats. */
import { CurfewError, messageOf } from '../errors.ts';
import { JOBS } from '../limits.ts';
import type { Clock, Job, JobAnswer, JobStatus, JobsListener, Log } from '../ports.ts';
import type { Connection } from './connection.ts';
import type { OfferedJob, ServerFrame } from './messages.ts';
import { answerFrame, reportFrame } from './messages.ts';

/** Where a job came from. */
export interface Source {
  readonly agentName: string;
  readonly connection: Connection;
}

interface Entry {
  source: Source;
  /** Never rejects, and comes in time. */
  readonly answer: Promise<JobAnswer>;
  /** `late`: refused because the listener took too long; it may still answer. */
  state: 'asked' | 'late' | 'accepted' | 'assigned' | 'over';
  changedMs: number;
}

type Assignment = Extract<ServerFrame, { type: 'assignment' }>;

export class Book {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #entries = new Map<string, Entry>();
  #listener: JobsListener | null = null;

  constructor({ clock, log }: { clock: Clock; log: Log }) {
    this.#clock = clock;
    this.#log = log;
  }

  listen(listener: JobsListener): void {
    this.#listener = listener;
  }

  read(source: Source, frame: ServerFrame): void {
    switch (frame.type) {
      case 'availability':
        void this.#offered(source, frame.job);
        return;
      case 'assignment':
        this.#assigned(source, frame);
        return;
      case 'termination':
        this.#terminated(frame.jobId);
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
    const entry = this.#entries.get(job.id) ?? this.#ask(source, job);
    const answer = await entry.answer;
    if (answer.accepted) entry.source = source;
    else this.#log.info({ job: job.id, agent: source.agentName, why: answer.why }, 'a job was refused');
    source.connection.send(answerFrame(job.id, answer));
  }

  /** null: no job that an agent of one room could do. */
  #toJob({ agentName }: Source, { id, type, room, metadata, attributes }: OfferedJob): Job | null {
    if (type === 'JT_ROOM' && room !== undefined) return { id, agentName, room, metadata, attributes };
    this.#log.warn({ job: id, agent: agentName, type }, 'a job was refused: only jobs for a room are taken');
    return null;
  }

  #ask(source: Source, job: Job): Entry {
    this.#prune();
    const { promise, resolve } = Promise.withResolvers<JobAnswer>();
    const entry: Entry = { source, answer: promise, state: 'asked', changedMs: this.#clock.now().bootMs };
    this.#entries.set(job.id, entry);
    const cancel = this.#clock.at(entry.changedMs + JOBS.answerMs, () => {
      this.#log.error({ job: job.id, agent: job.agentName }, 'a job was refused: the decision took too long');
      this.#set(entry, 'late');
      resolve({ accepted: false, why: 'the decision took too long' });
    });
    void this.#decide(job).then((answer) => {
      cancel();
      this.#decided(entry, job.id, answer);
      resolve(answer);
    });
    return entry;
  }

  async #decide(job: Job): Promise<JobAnswer> {
    try {
      return (await this.#listener?.offered(job)) ?? { accepted: false, why: 'nobody decides' };
    } catch (error) {
      // The words of such an error may name the room.
      const why = error instanceof CurfewError ? error.code : messageOf(error);
      this.#log.error({ job: job.id, agent: job.agentName, why }, 'a job was refused: the decision failed');
      return { accepted: false, why: 'the decision failed' };
    }
  }

  #decided(entry: Entry, jobId: string, answer: JobAnswer): void {
    // One that was refused may be offered again, with better luck.
    if (!answer.accepted) this.#entries.delete(jobId);
    else if (entry.state === 'asked') this.#set(entry, 'accepted');
    else {
      // Nothing will come of it, and who accepted it must know.
      this.#entries.delete(jobId);
      this.#listener?.terminated(jobId);
    }
  }

  #assigned(source: Source, { jobId, url, token }: Assignment): void {
    const entry = this.#entries.get(jobId);
    if (entry?.state === 'accepted') {
      entry.source = source;
      this.#set(entry, 'assigned');
      this.#listener?.assigned(jobId, { url, token });
    } else if (entry?.state === 'assigned') entry.source = source;
    else
      this.#log.warn({ job: jobId, agent: source.agentName }, 'LiveKit assigned a job that was not accepted');
  }

  /** LiveKit has forgotten the job, but whoever runs it may still say how it ended. */
  #terminated(jobId: string): void {
    const entry = this.#entries.get(jobId);
    if (entry !== undefined) this.#set(entry, 'over');
    this.#listener?.terminated(jobId);
  }

  #set(entry: Entry, state: Entry['state']): void {
    entry.state = state;
    entry.changedMs = this.#clock.now().bootMs;
  }

  /** Running jobs are kept until their end is reported, all others for a while. */
  #prune(): void {
    const keptFromMs = this.#clock.now().bootMs - JOBS.keepMs;
    for (const [id, { state, changedMs }] of this.#entries)
      if (state !== 'assigned' && changedMs < keptFromMs) this.#entries.delete(id);
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined && this.#entries.size >= JOBS.kept) this.#entries.delete(oldest);
  }
}
