/** LiveKit's own dispatch: LiveKit offers, assigns and terminates jobs; curfew answers and reports. */
import type { Stamp } from '../core/ids.ts';
import type { JobMessage } from '../core/model/job-options.ts';

/** A call for which LiveKit wants an agent. Source: `Job` of the LiveKit agent protocol. */
export interface Job {
  readonly id: string;
  /** The agent name of the registration that got the offer. Empty: LiveKit's default agent. */
  readonly agentName: string;
  readonly room: { readonly name: string; readonly sid: string; readonly metadata: string };
  /** The metadata of the dispatch, unchanged. */
  readonly metadata: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** The rest of LiveKit's message. The worker gets all of it. */
  readonly message: JobMessage;
}

export type JobAnswer =
  | {
      readonly accepted: true;
      readonly identity: string;
      readonly name: string;
      readonly metadata?: string;
      readonly attributes?: Readonly<Record<string, string>>;
    }
  /** `why` goes to the log, so it never names rooms or people. `isFinal`: LiveKit must ask no other worker. */
  | { readonly accepted: false; readonly why: string; readonly isFinal?: true };

export interface JobsListener {
  /** LiveKit waits at most 3 s. A later answer loses the call. */
  offered(job: Job): Promise<JobAnswer>;
  assigned(jobId: string): void;
  /** The job's dispatch was deleted. Not called when LiveKit ends a job because its agent left the room. */
  terminated(jobId: string): void;
  /** curfew accepted the job, but LiveKit does not know it. */
  withdrawn(jobId: string, why: JobLoss): void;
}

/** `late`: curfew had to answer no, because the decision took too long. `unsent`: the yes could not be sent. */
export type JobLoss = 'late' | 'unsent';

export type JobStatus = 'running' | 'success' | 'failed';

/** How full this host is for one agent name. `load`: 0 to 1. `full`: LiveKit must offer nothing. `jobs`: running ones. */
export interface JobLoad {
  readonly load: number;
  readonly full: boolean;
  readonly jobs: number;
}

export interface JobsStatus {
  readonly agentName: string;
  readonly state: 'connecting' | 'registered';
  readonly since: Stamp;
  /** Why the name is not registered. null: it is registered, or there was no attempt yet. */
  readonly error: string | null;
}

/** One registration as an agent worker for each agent name. */
export interface Jobs {
  /** Connects, and reconnects for ever. */
  start(listener: JobsListener): void;
  /** Uses the connection that brought the job. If that connection was lost, the server does not know the job any more. */
  report(jobId: string, status: JobStatus, error: string | null): void;
  setLoad(agentName: string, load: JobLoad): void;
  /** Replaces the agent names: registers the new ones and closes the registrations of the others. */
  setNames(agentNames: readonly string[]): void;
  status(): readonly JobsStatus[];
  close(): Promise<void>;
}
