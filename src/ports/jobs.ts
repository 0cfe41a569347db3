/** LiveKit's own dispatch, as the supervisor sees it: jobs are offered, answered, assigned and told of. */
import type { Stamp } from '../core/ids.ts';

/** A call for which LiveKit wants an agent. Source: `Job` of the LiveKit agent protocol. */
export interface Job {
  readonly id: string;
  /** The name under which it was offered; empty: LiveKit's default agent. */
  readonly agentName: string;
  readonly room: { readonly name: string; readonly sid: string; readonly metadata: string };
  /** Of the dispatch, as it was given. */
  readonly metadata: string;
  readonly attributes: Readonly<Record<string, string>>;
}

export type JobAnswer =
  | { readonly accepted: true; readonly identity: string; readonly name: string }
  /** `why` is for the log: no rooms, no people. */
  | { readonly accepted: false; readonly why: string };

export interface JobsListener {
  /** LiveKit waits 3 s at most, and a late answer loses the call. */
  offered(job: Job): Promise<JobAnswer>;
  assigned(jobId: string): void;
  /** Its dispatch was deleted: the call is not wanted any more. Not told when LiveKit ends a job because its agent has left. */
  terminated(jobId: string): void;
  /** It was accepted, and LiveKit does not know it. `late`: it had been told no for want of a decision; `unsent`: the yes could not be said. */
  withdrawn(jobId: string, why: JobLoss): void;
}

export type JobLoss = 'late' | 'unsent';

export type JobStatus = 'running' | 'success' | 'failed';

/** How full this host is for one agent name: 0 to 1; `full`: it is offered nothing. */
export interface JobLoad {
  readonly load: number;
  readonly full: boolean;
  readonly jobs: number;
}

export interface JobsStatus {
  readonly agentName: string;
  readonly state: 'connecting' | 'registered';
  readonly since: Stamp;
  /** Why it is not registered; null: it is, or was not tried yet. */
  readonly error: string | null;
}

/** LiveKit's own dispatch: one registration as an agent worker for each agent name. */
export interface Jobs {
  /** Connects, and connects again for ever. */
  start(listener: JobsListener): void;
  /** Sent over the connection that brought the job; the server forgets jobs whose connection was lost. */
  report(jobId: string, status: JobStatus, error: string | null): void;
  setLoad(agentName: string, load: JobLoad): void;
  /** Other names from now on: registers and takes back what differs. */
  setNames(agentNames: readonly string[]): void;
  status(): readonly JobsStatus[];
  close(): Promise<void>;
}
