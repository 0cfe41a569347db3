/** LiveKit's own dispatch: accepts the calls that LiveKit offers, and reports the load of this host to LiveKit. */
import type { DispatchRequest } from '../../api/session-schemas.ts';
import { dispatchSchema } from '../../api/session-schemas.ts';
import type { SessionId } from '../../core/ids.ts';
import { sessionId } from '../../core/ids.ts';
import type { AgentAnswer } from '../../core/model/agent-answer.ts';
import { readJobOptions } from '../../core/model/job-options.ts';
import type { Profile } from '../../core/model/profile.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded, reservedWorker } from '../../core/model/session.ts';
import { CurfewError } from '../../lib/errors.ts';
import { JOB_SOURCE } from '../../lib/limits/livekit-limits.ts';
import type { Job, JobAnswer, JobLoss, Jobs, JobsListener } from '../../ports/jobs.ts';
import type { SessionHost } from '../sessions/session-host.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { AgentAnswers } from '../workers/agent-answers.ts';
import type { AdmissionGate } from './admission-gate.ts';
import { isSideRoom, profilesNow } from './auto-dispatch.ts';
import type { Dispatcher } from './dispatcher.ts';

export interface JobSourceOptions {
  readonly jobs: Jobs;
  readonly deps: Pick<SupervisorDeps, 'clock' | 'log' | 'agents' | 'profileOf'>;
  readonly sessions: Pick<SessionHost, 'all' | 'post' | 'state' | 'idle'>;
  /** Offers the job to a warm LiveKit agent, and waits for the agent's answer. */
  readonly answers: Pick<AgentAnswers, 'ask'>;
  readonly admission: Pick<AdmissionGate, 'quotas' | 'overload' | 'onChange'>;
  readonly dispatcher: Dispatcher;
  readonly isAccepting: () => boolean;
  /** A call was refused, for example because no slot was free. */
  readonly onRefused: (room: string, profile: Profile) => void;
}

export class JobSource implements JobsListener {
  readonly #options: JobSourceOptions;
  #cancelLoad: (() => void) | null = null;
  #reportedMs = Number.NEGATIVE_INFINITY;

  constructor(options: JobSourceOptions) {
    this.#options = options;
  }

  start(): void {
    this.reportLoad();
    this.#options.admission.onChange(() => this.#reportLoadSoon());
    this.#options.jobs.start(this);
  }

  async offered(job: Job): Promise<JobAnswer> {
    const { dispatcher, sessions, onRefused } = this.#options;
    const profile = this.#profileFor(job.agentName);
    if (profile === null) return { accepted: false, why: 'no agent of this config has that name' };
    if (isSideRoom(sessions, job.room.name))
      return { accepted: false, why: 'the room is a side room of a live call' };
    const offeredMs = this.#options.deps.clock.now().bootMs;
    const { id, agentName, metadata, attributes, message } = job;
    try {
      const { session } = await dispatcher.dispatch(this.#requestFor(job, profile), {
        job: { id, agentName, metadata, attributes, message },
        mayQueue: false,
        assignedWithinMs: JOB_SOURCE.assignedWithinMs,
      });
      const answer = await this.#ask(session, offeredMs);
      return this.#answerFor(session, answer);
    } catch (error) {
      if (!(error instanceof CurfewError)) throw error;
      if (error.code !== 'room_taken' && error.code !== 'id_conflict') onRefused(job.room.name, profile);
      return { accepted: false, why: error.code };
    }
  }

  /** The reserved warm agent answers for itself. null: there is none, or it has not answered in time; then curfew accepts for it. */
  async #ask(session: Session, offeredMs: number): Promise<AgentAnswer | null> {
    const warm = reservedWorker(session);
    const { answers, sessions } = this.#options;
    if (warm === null || session.spec.profile.protocol !== 'livekit') return null;
    const answer = await answers.ask(session, warm.id, offeredMs + JOB_SOURCE.askMs);
    await sessions.idle(session.spec.id);
    return answer;
  }

  #answerFor({ spec: { id } }: Session, answer: AgentAnswer | null): JobAnswer {
    const session = this.#options.sessions.state(id);
    if (session === null || isEnded(session)) {
      const isFinal = answer?.kind === 'rejected' && answer.isFinal;
      const why = answer?.kind === 'rejected' ? 'the agent rejected it' : 'its session has ended already';
      return { accepted: false, why, ...(isFinal && { isFinal }) };
    }
    const { agentIdentity: identity } = session.spec;
    if (answer?.kind !== 'accepted') return { accepted: true, identity, name: '' };
    const { name, metadata, attributes } = answer;
    return { accepted: true, identity, name, metadata, attributes };
  }

  /** The worker does not get LiveKit's token for the job. Because: curfew chooses grants and lifetime of the worker's own token. */
  assigned(jobId: string): void {
    this.#options.sessions.post(sessionId(jobId), { type: 'assigned' });
  }

  terminated(jobId: string): void {
    this.#options.sessions.post(sessionId(jobId), { type: 'job_terminated' });
  }

  /** A session that has already begun continues, because it may have a caller. */
  withdrawn(jobId: string, why: JobLoss): void {
    this.#options.sessions.post(sessionId(jobId), { type: 'job_withdrawn', why });
  }

  /** Reports the load at once, for example when the supervisor accepts no more sessions. */
  reportLoad(): void {
    this.#cancelLoad?.();
    this.#cancelLoad = null;
    const { jobs, deps, sessions, admission, isAccepting } = this.#options;
    this.#reportedMs = deps.clock.now().bootMs;
    const quotas = admission.quotas();
    const isOver = admission.overload().length > 0;
    const open = sessions.all().filter((one) => !isEnded(one));
    for (const profile of this.#profiles()) {
      const shared = quotas.filter((one) => one.name === 'host' || one.name === `agent:${profile.agent}`);
      const load = Math.max(0, ...shared.map((one) => (one.limit === 0 ? 1 : one.used / one.limit)));
      jobs.setLoad(profile.agentName ?? '', {
        load: Math.min(1, load),
        full: load >= 1 || isOver || !isAccepting(),
        jobs: open.filter((one) => one.spec.profile.agent === profile.agent).length,
      });
    }
  }

  /** The config may name other agents now. */
  reload(): void {
    this.#options.jobs.setNames(this.#profiles().map((one) => one.agentName ?? ''));
    this.reportLoad();
  }

  close(): void {
    this.#cancelLoad?.();
  }

  /** Changes within `JOB_SOURCE.loadEveryMs` after a report go into one later report. */
  #reportLoadSoon(): void {
    const { clock } = this.#options.deps;
    const dueMs = Math.max(clock.now().bootMs, this.#reportedMs + JOB_SOURCE.loadEveryMs);
    this.#cancelLoad ??= clock.at(dueMs, () => this.reportLoad());
  }

  #profiles(): Profile[] {
    return profilesNow(this.#options.deps).filter((one) => one.agentName !== null);
  }

  #profileFor(agentName: string): Profile | null {
    return this.#profiles().find((one) => one.agentName === agentName) ?? null;
  }

  /** Wrong limits, user or labels in the job are dropped. The call itself is accepted. */
  #requestFor(job: Job, { agent }: Profile): DispatchRequest {
    const { metadata, curfew } = readJobOptions({ ...job, roomMetadata: job.room.metadata });
    const base = { room: job.room.name, agent, id: job.id };
    const { user, labels, limits } = curfew;
    const full = dispatchSchema.safeParse({ ...base, metadata, user, labels, limits });
    if (full.success) return full.data;
    this.#options.deps.log.warn(
      { session: job.id as SessionId, keys: full.error.issues.map((one) => nameOf(one.path)) },
      'a LiveKit job has options for curfew that are not valid: the call is accepted without them',
    );
    const plain = dispatchSchema.safeParse({ ...base, metadata });
    if (plain.success) return plain.data;
    const bare = dispatchSchema.safeParse(base);
    if (bare.success) return bare.data;
    throw new CurfewError(
      'invalid_request',
      'the room of a LiveKit job has a name that curfew does not accept',
    );
  }
}

/** Only names that curfew defines. A label's key comes from the caller, so it must not enter the log. */
function nameOf([first, second]: readonly PropertyKey[]): string {
  return first === 'limits' && second !== undefined ? `limits.${String(second)}` : String(first);
}
