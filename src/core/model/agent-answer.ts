/** A LiveKit agent's answer to its job: the agent accepts it with a name, an identity and more, or rejects it. */
import { LIVEKIT_BOUNDS } from '../../lib/limits/livekit-limits.ts';
import { isAgent } from '../rooms/presence.ts';
import { utf8Bytes } from '../utf8-bytes.ts';
import type { Session } from './session.ts';

/** An agent's rights in its room. Source: `ParticipantPermission` of the agent's registration. */
export interface AgentPermissions {
  readonly canSubscribe: boolean;
  readonly canPublish: boolean;
  readonly canPublishData: boolean;
  readonly canUpdateMetadata: boolean;
  readonly canSubscribeMetrics: boolean;
  readonly hidden: boolean;
}

/** The participant that the agent becomes in its room. It names people, so it is in no record, log or answer of the API. */
export interface Acceptance {
  readonly kind: 'accepted';
  /** Empty: the agent leaves the identity to LiveKit. */
  readonly identity: string;
  readonly name: string;
  readonly metadata: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** null: the agent did not register any. */
  readonly permissions: AgentPermissions | null;
}

/** `isFinal`: LiveKit must ask no other agent. */
export type AgentAnswer = Acceptance | { readonly kind: 'rejected'; readonly isFinal: boolean };

/**
 * Gives the session's agent the identity that the agent chose. Without a usable choice it keeps the session's own.
 * `isTaken`: the agent of another session in the room has the identity. Two agents would throw each other out.
 */
export function withChosenIdentity<S extends Session>(
  session: S,
  { identity }: Acceptance,
  isTaken: boolean,
): S {
  const { spec } = session;
  const { ownIdentity = spec.agentIdentity } = spec;
  const isUsable = identity !== '' && !isDefault(identity, session) && !isTaken && canBe(identity, session);
  const chosen = isUsable ? identity : ownIdentity;
  if (chosen === spec.agentIdentity) return session;
  return { ...session, spec: { ...spec, agentIdentity: chosen, ownIdentity } };
}

/** The frameworks name an agent that chose nothing after its job. */
function isDefault(identity: string, { spec }: Session): boolean {
  return identity === `agent-${spec.job?.id ?? spec.id}`;
}

/** LiveKit lets no longer identity in. The identity of a person in the room would throw that person out. */
function canBe(identity: string, session: Session): boolean {
  return holderOf(identity, session) !== 'person' && utf8Bytes(identity) <= LIVEKIT_BOUNDS.identityBytes;
}

/** The holder of an identity in the room, as far as curfew knows. */
export function holderOf(identity: string, { presence }: Session): 'agent' | 'person' | 'nobody' {
  const holder = presence.participants.find((one) => one.identity === identity);
  if (holder === undefined) return 'nobody';
  return isAgent(holder) ? 'agent' : 'person';
}
