/** A job in LiveKit's protocol, and an agent's acceptance of it. */
import type { AvailabilityResponse, ParticipantPermission } from '@livekit/protocol';
import { Job, JobState, JobStatus, JobType } from '@livekit/protocol';
import type { Acceptance, AgentPermissions } from '../../../core/model/agent-answer.ts';
import type { StandInJob } from '../../../ports/stand-in.ts';
import type { AgentConnection } from './agent-connection.ts';

type Worker = Pick<AgentConnection, 'workerId' | 'registration' | 'launcher'>;

/** LiveKit's server gives this attribute to each agent. */
const NAME_ATTRIBUTE = 'lk.agent_name';

export function toJob({ id, message, metadata, attributes, agentName }: StandInJob, worker: Worker): Job {
  // Newer servers may send fields that this version does not know.
  const job = Job.fromJson({ ...message }, { ignoreUnknownFields: true });
  const state = new JobState({ status: JobStatus.JS_RUNNING, ...job.state, workerId: worker.workerId });
  return new Job({
    ...job,
    type: JobType.JT_ROOM,
    id,
    metadata,
    attributes: { ...attributes },
    state,
    agentName: nameFor(agentName, worker),
  });
}

export function toAcceptance(
  { participantIdentity, participantName, participantMetadata, participantAttributes }: AvailabilityResponse,
  { agentName }: StandInJob,
  worker: Worker,
): Acceptance {
  const { allowedPermissions } = worker.registration;
  return {
    kind: 'accepted',
    identity: participantIdentity,
    name: participantName,
    metadata: participantMetadata,
    attributes: { ...participantAttributes, [NAME_ATTRIBUTE]: nameFor(agentName, worker) },
    permissions: allowedPermissions === undefined ? null : toPermissions(allowedPermissions),
    // Because: with LiveKit's real keys the agent could give itself this grant. Without them it must not have it.
    agentGrant: worker.launcher?.access === 'full',
  };
}

/** A dispatch without LiveKit names no agent. Then the agent's own name counts, as under LiveKit. */
function nameFor(agentName: string, { registration }: Worker): string {
  return agentName === '' ? registration.agentName : agentName;
}

function toPermissions(permission: ParticipantPermission): AgentPermissions {
  const { canSubscribe, canPublish, canPublishData, canUpdateMetadata, canSubscribeMetrics, hidden } =
    permission;
  return { canSubscribe, canPublish, canPublishData, canUpdateMetadata, canSubscribeMetrics, hidden };
}
