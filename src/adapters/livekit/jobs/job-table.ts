/** The offered jobs. Each is decided once, answered in time and assigned once, even if the server repeats a frame. */
import { CurfewError } from '../../../lib/errors.ts';
import { JOBS } from '../../../lib/limits/livekit-limits.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Job, JobAnswer, JobLoss, JobStatus, JobsListener } from '../../../ports/jobs.ts';
import type { Log } from '../../../ports/log.ts';
import type { Dispatch, IsDeleted } from './deleted-dispatch.ts';
import type { Connection } from './job-connection.ts';
import type { OfferedJob, ServerFrame } from './job-frames.ts';
import { answerFrame, reportFrame } from './job-frames.ts';

/** Where a job came from: the registered name, and the connection that takes the answer. */
export interface JobOrigin {
  readonly agentName: string;
  readonly connection: Connection;
}

interface Entry {
  origin: JobOrigin;
  readonly dispatch: Dispatch;
  /** Never rejects. Resolves within `JOBS.answerMs`. */
  readonly answer: Promise<JobAnswer>;
  /** `late`: the job was refused because the listener took too long. The listener may still answer. */
  state: 'asked' | 'late' | 'accepted' | 'assigned' | 'over';
  changedMs: number;
  /** Cancels the timer of the next step: the answer, or the assignment. */
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

  /** Sends no more events to the listener. */
  close(): void {
    this.#isClosed = true;
    this.#listener = null;
    for (const entry of this.#entries.values()) entry.cancel();
  }

  read(origin: JobOrigin, frame: ServerFrame): void {
    switch (frame.type) {
      case 'availability':
        void this.#offered(origin, frame.job);
        return;
      case 'assignment':
        this.#assigned(origin, frame.jobId);
        return;
      case 'termination':
        void this.#terminated(frame.jobId);
        return;
      case 'register':
      case 'other':
    }
  }

  /** `connectionOf` returns the current connection of an agent name. `null`: it is not registered. */
  report(
    jobId: string,
    report: { status: JobStatus; error: string | null },
    connectionOf: (agentName: string) => Connection | null,
  ): void {
    const entry = this.#entries.get(jobId);
    // LiveKit has no answer yet, and hears one instead.
    if (entry?.state === 'asked') return;
    const frame = reportFrame(jobId, report);
    const isSent =
      entry !== undefined &&
      (entry.origin.connection.send(frame) || connectionOf(entry.origin.agentName)?.send(frame) === true);
    if (!isSent)
      this.#log.debug(
        { job: jobId, status: report.status },
        'the status of a job could not be sent to LiveKit',
      );
    if (entry !== undefined && report.status !== 'running') this.#setState(entry, 'over');
  }

  async #offered(origin: JobOrigin, offered: OfferedJob): Promise<void> {
    const job = this.#toJob(origin, offered);
    if (job === null) {
      origin.connection.send(answerFrame(offered.id, { accepted: false, why: 'not a room' }));
      return;
    }
    const entry = this.#findOpen(job.id) ?? this.#add(origin, job, offered.dispatchId);
    if (entry.state !== 'assigned') entry.origin = origin;
    const answer = await entry.answer;
    const isSent = origin.connection.send(answerFrame(job.id, answer));
    if (!answer.accepted)
      this.#log.info({ job: job.id, agent: origin.agentName, why: answer.why }, 'a job was refused');
    else if (!isSent && entry.state === 'accepted' && entry.origin === origin)
      this.#withdraw(job.id, entry, 'unsent');
  }

  /** `null`: the job is not for one room. */
  #toJob(
    { agentName }: JobOrigin,
    { id, type, room, metadata, attributes, message }: OfferedJob,
  ): Job | null {
    if (type === 'JT_ROOM' && room !== undefined)
      return { id, agentName, room, metadata, attributes, message };
    this.#log.warn(
      { job: id, agent: agentName, type },
      'a job was refused: curfew takes only jobs for a room',
    );
    return null;
  }

  /** `null`: unknown or over. If the id of a finished job comes again, it is a new job. */
  #findOpen(jobId: string): Entry | null {
    const entry = this.#entries.get(jobId);
    return entry === undefined || entry.state === 'over' ? null : entry;
  }

  #add(origin: JobOrigin, job: Job, dispatchId: string): Entry {
    this.#prune();
    const { promise, resolve } = Promise.withResolvers<JobAnswer>();
    const entry: Entry = {
      origin,
      dispatch: { id: dispatchId, room: job.room.name },
      answer: promise,
      state: 'asked',
      changedMs: 0,
      cancel: () => undefined,
    };
    this.#entries.set(job.id, entry);
    this.#setState(entry, 'asked');
    this.#setTimer(entry, JOBS.answerMs, () => {
      this.#log.error(
        { job: job.id, agent: job.agentName },
        'a job was refused: the decision took too long; check the load of this host and its disk',
      );
      this.#setState(entry, 'late');
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
      return (await this.#listener?.offered(job)) ?? { accepted: false, why: 'the supervisor is closing' };
    } catch (error) {
      // The text of an error may contain the room's name, which must not enter the log.
      const why = error instanceof CurfewError ? error.code : error instanceof Error ? error.name : 'unknown';
      this.#log.error({ job: job.id, agent: job.agentName, why }, 'a job was refused: the decision failed');
      return { accepted: false, why: 'the decision failed' };
    }
  }

  #decided(entry: Entry, jobId: string, answer: JobAnswer): void {
    if (this.#isClosed) return;
    // LiveKit may offer a refused job again, and a new decision may accept it.
    if (!answer.accepted) this.#forget(jobId, entry);
    else if (entry.state === 'late') this.#withdraw(jobId, entry, 'late');
    else {
      this.#setState(entry, 'accepted');
      this.#setTimer(entry, JOBS.assignMs, () => this.#logUnassigned(jobId, entry));
    }
  }

  /** The listener accepted the job, but LiveKit did not get the answer. The listener must know that. */
  #withdraw(jobId: string, entry: Entry, why: JobLoss): void {
    this.#log.info(
      { job: jobId, agent: entry.origin.agentName, why },
      'an accepted job was withdrawn: LiveKit did not get the answer in time',
    );
    this.#forget(jobId, entry);
    this.#listener?.withdrawn(jobId, why);
  }

  /** LiveKit has the acceptance. The session starts without the assignment and still reports its status. */
  #logUnassigned(jobId: string, entry: Entry): void {
    this.#log.info(
      { job: jobId, agent: entry.origin.agentName },
      'LiveKit did not assign an accepted job in time; its session starts without the assignment',
    );
  }

  #forget(jobId: string, entry: Entry): void {
    entry.cancel();
    if (this.#entries.get(jobId) === entry) this.#entries.delete(jobId);
  }

  #assigned(origin: JobOrigin, jobId: string): void {
    const entry = this.#entries.get(jobId);
    if (entry?.state === 'accepted') {
      entry.origin = origin;
      this.#setState(entry, 'assigned');
      this.#listener?.assigned(jobId);
    } else if (entry?.state === 'assigned') entry.origin = origin;
    else
      this.#log.warn({ job: jobId, agent: origin.agentName }, 'LiveKit assigned a job that was not accepted');
  }

  /** LiveKit has dropped the job. The call is over only if the dispatch was deleted. */
  async #terminated(jobId: string): Promise<void> {
    const entry = this.#entries.get(jobId);
    if (entry === undefined) return;
    this.#setState(entry, 'over');
    const isDeleted = await this.#isDeleted(entry.dispatch);
    const fields = { job: jobId, agent: entry.origin.agentName };
    if (isDeleted === true) this.#listener?.terminated(jobId);
    else if (isDeleted === false)
      this.#log.info(
        fields,
        'LiveKit ended a job because its agent left or rejoined the room; the session continues',
      );
    else
      this.#log.info(
        fields,
        'LiveKit ended a job and did not answer whether its dispatch was deleted; the session continues',
      );
  }

  #setTimer(entry: Entry, delayMs: number, callback: () => void): void {
    entry.cancel = this.#clock.at(entry.changedMs + delayMs, callback);
  }

  #setState(entry: Entry, state: Entry['state']): void {
    entry.cancel();
    entry.state = state;
    entry.changedMs = this.#clock.now().bootMs;
  }

  /** Keeps assigned jobs until their end is reported, and all others for `JOBS.keepMs`. */
  #prune(): void {
    const keptFromMs = this.#clock.now().bootMs - JOBS.keepMs;
    for (const [id, entry] of this.#entries)
      if (entry.state !== 'assigned' && entry.changedMs < keptFromMs) this.#forget(id, entry);
    const [oldest] = this.#entries;
    if (oldest !== undefined && this.#entries.size >= JOBS.kept) this.#forget(...oldest);
  }
}
