/** LiveKit's own dispatch: takes the calls that it offers, and tells it how full this host is. */
import type { DispatchRequest } from '../../api/session-schemas.ts';
import { dispatchSchema } from '../../api/session-schemas.ts';
import type { SessionId } from '../../core/ids.ts';
import { sessionId } from '../../core/ids.ts';
import { readJobOptions } from '../../core/model/job-options.ts';
import type { Profile } from '../../core/model/profile.ts';
import { isEnded } from '../../core/model/session.ts';
import { CurfewError } from '../../lib/errors.ts';
import { JOB_SOURCE } from '../../lib/limits/livekit-limits.ts';
import type { Job, JobAnswer, JobLoss, Jobs, JobsListener } from '../../ports/jobs.ts';
import type { SessionHost } from '../sessions/session-host.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { AdmissionGate } from './admission-gate.ts';
import { isSideRoom, profilesNow } from './auto-dispatch.ts';
import type { Dispatcher } from './dispatcher.ts';

export interface JobSourceOptions {
  readonly jobs: Jobs;
  readonly deps: Pick<SupervisorDeps, 'clock' | 'log' | 'agents' | 'profileOf'>;
  readonly sessions: Pick<SessionHost, 'all' | 'post'>;
  readonly admission: Pick<AdmissionGate, 'quotas' | 'onChange'>;
  readonly dispatcher: Dispatcher;
  readonly isAccepting: () => boolean;
  /** A call that could not be taken for want of a place. */
  readonly onRefused: (room: string, profile: Profile) => void;
}

export class JobSource implements JobsListener {
  readonly #options: JobSourceOptions;
  #cancelLoad: (() => void) | null = null;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(options: JobSourceOptions) {
    this.#options = options;
  }

  start(): void {
    this.tellLoad();
    this.#options.admission.onChange(() => this.#tellLoadSoon());
    this.#options.jobs.start(this);
  }

  async offered(job: Job): Promise<JobAnswer> {
    const { dispatcher, sessions, onRefused } = this.#options;
    const profile = this.#profileFor(job.agentName);
    if (profile === null) return { accepted: false, why: 'no agent of this config has that name' };
    if (isSideRoom(sessions, job.room.name))
      return { accepted: false, why: 'it is a side room of a live call' };
    const { id, agentName, metadata, attributes } = job;
    try {
      const { session } = await dispatcher.dispatch(this.#requestFor(job, profile), {
        job: { id, agentName, metadata, attributes },
        mayQueue: false,
        assignedWithinMs: JOB_SOURCE.assignedWithinMs,
      });
      if (isEnded(session)) return { accepted: false, why: 'its session has ended already' };
      return { accepted: true, identity: session.spec.agentIdentity, name: '' };
    } catch (error) {
      if (!(error instanceof CurfewError)) throw error;
      if (error.code !== 'room_taken' && error.code !== 'id_conflict') onRefused(job.room.name, profile);
      return { accepted: false, why: error.code };
    }
  }

  /** LiveKit's own token carries the grant `agent`, with which a worker could take other rooms' jobs: ours does not. */
  assigned(jobId: string): void {
    this.#options.sessions.post(sessionId(jobId), { type: 'assigned' });
  }

  terminated(jobId: string): void {
    this.#options.sessions.post(sessionId(jobId), { type: 'job_terminated' });
  }

  /** One that has begun all the same has a caller, perhaps: it goes on. */
  withdrawn(jobId: string, why: JobLoss): void {
    this.#options.sessions.post(sessionId(jobId), { type: 'job_withdrawn', why });
  }

  /** At once, as when nothing more is taken. */
  tellLoad(): void {
    this.#cancelLoad?.();
    this.#cancelLoad = null;
    const { jobs, deps, sessions, admission, isAccepting } = this.#options;
    this.#toldMs = deps.clock.now().bootMs;
    const quotas = admission.quotas();
    const open = sessions.all().filter((one) => !isEnded(one));
    for (const profile of this.#profiles()) {
      const full = quotas.filter((one) => one.name === 'host' || one.name === `agent:${profile.agent}`);
      const load = Math.max(0, ...full.map((one) => (one.limit === 0 ? 1 : one.used / one.limit)));
      jobs.setLoad(profile.agentName ?? '', {
        load: Math.min(1, load),
        full: load >= 1 || !isAccepting(),
        jobs: open.filter((one) => one.spec.profile.agent === profile.agent).length,
      });
    }
  }

  /** Other agents in the config. */
  reload(): void {
    this.#options.jobs.setNames(this.#profiles().map((one) => one.agentName ?? ''));
    this.tellLoad();
  }

  close(): void {
    this.#cancelLoad?.();
  }

  /** What changes soon after a report is gathered. */
  #tellLoadSoon(): void {
    const { clock } = this.#options.deps;
    const dueMs = Math.max(clock.now().bootMs, this.#toldMs + JOB_SOURCE.loadEveryMs);
    this.#cancelLoad ??= clock.at(dueMs, () => this.tellLoad());
  }

  #profiles(): Profile[] {
    return profilesNow(this.#options.deps).filter((one) => one.agentName !== null);
  }

  #profileFor(agentName: string): Profile | null {
    return this.#profiles().find((one) => one.agentName === agentName) ?? null;
  }

  /** What the job says of limits, user or labels and is wrong costs it that, never the call. */
  #requestFor(job: Job, { agent }: Profile): DispatchRequest {
    const { metadata, curfew } = readJobOptions({ ...job, roomMetadata: job.room.metadata });
    const base = { room: job.room.name, agent, id: job.id };
    const { user, labels, limits } = curfew;
    const wished = dispatchSchema.safeParse({ ...base, metadata, user, labels, limits });
    if (wished.success) return wished.data;
    this.#options.deps.log.warn(
      { session: job.id as SessionId, keys: wished.error.issues.map((one) => nameOf(one.path)) },
      'what a LiveKit job asks of curfew is not valid: the call is taken without it',
    );
    const plain = dispatchSchema.safeParse({ ...base, metadata });
    if (plain.success) return plain.data;
    const bare = dispatchSchema.safeParse(base);
    if (bare.success) return bare.data;
    throw new CurfewError(
      'invalid_request',
      'the room of a LiveKit job has a name that curfew does not take',
    );
  }
}

/** Of what curfew knows only: the key of a label is the caller's own word. */
function nameOf([first, second]: readonly PropertyKey[]): string {
  return first === 'limits' && second !== undefined ? `limits.${String(second)}` : String(first);
}
