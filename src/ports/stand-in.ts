/** The stand-in for the LiveKit server, for unchanged LiveKit agents. */
import type { WorkerId } from '../core/ids.ts';
import type { AgentAnswer } from '../core/model/agent-answer.ts';
import type { JobMessage } from '../core/model/job-options.ts';
import type { LiveKitAccess, LiveKitKeys, Profile } from '../core/model/profile.ts';
import type { ChannelsListener } from './channels.ts';

/** The job that an unchanged LiveKit agent gets. */
export interface StandInJob {
  readonly id: string;
  /** The rest of LiveKit's message, with the room. */
  readonly message: JobMessage;
  /** The agent reads it as `ctx.job.metadata`. */
  readonly metadata: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** Empty: the name that the agent registered with. */
  readonly agentName: string;
}

/** The real LiveKit server, and a token that is valid for one room alone. */
export interface AgentAccess {
  readonly url: string;
  readonly token: string;
}

export interface StandInListener extends ChannelsListener {
  /** The worker's room and its side rooms. The stand-in refuses calls of the LiveKit API for other rooms. */
  roomsOf(workerId: WorkerId): readonly string[];
  /** The access that the worker's profile grants. null: no worker of this supervisor has this id now. */
  accessOf(workerId: WorkerId): LiveKitAccess | null;
  /** `agent_name` of the worker's profile; null: LiveKit's dispatch does not find it. */
  agentNameOf(workerId: WorkerId): string | null;
  /** Appends a line to the worker's log. */
  note(workerId: WorkerId, line: string): void;
  /** The agent answered the offer of its job. A repeated offer gets the same answer. */
  answered(workerId: WorkerId, answer: AgentAnswer): void;
}

/** Serves LiveKit's path `/agent`. One connection per worker; a newer connection replaces an older one. */
export interface StandIn {
  /** Address for workers. It stays the same after a restart. */
  readonly url: string;
  /** Rejects `invalid_config` when another process uses the port. */
  listen(listener: StandInListener): Promise<void>;
  /** Keys for this worker alone. They are derived from the master key, so they are valid after a restart. */
  keysFor(workerId: WorkerId): { readonly apiKey: string; readonly apiSecret: string };
  /** Additional variables for such a worker: the address, its keys and the launchers. `given`: the worker's other variables. */
  envFor(
    workerId: WorkerId,
    profile: Pick<Profile, 'agent' | 'livekitAccess'>,
    given: Readonly<Record<string, string>>,
  ): Readonly<Record<string, string>>;
  /** LiveKit as the profile itself names it. null: the agent sees LiveKit as the supervisor does. Never rejects. */
  livekitFor(
    profile: Pick<Profile, 'agent' | 'livekitAccess' | 'env' | 'envFile'>,
  ): Promise<LiveKitKeys | null>;
  /** Asks the agent whether it accepts the job. false: it is not connected. */
  offer(workerId: WorkerId, job: StandInJob): boolean;
  /** Gives the agent that accepted the job its room. Then the worker is ready. false: it is not connected, or is asked again. */
  admit(workerId: WorkerId, access: AgentAccess): boolean;
  /** Forgets the offered job, because its session ended or has another worker. */
  withdraw(workerId: WorkerId): void;
  /** Asks the worker to end its job gracefully. false: it is not connected. */
  terminate(workerId: WorkerId): boolean;
  close(): Promise<void>;
}
