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
  /** The agent gets the grant `agent`, as LiveKit's own runner gives it. A holder of this grant may register at LiveKit. */
  readonly agentGrant: boolean;
}

/** `isFinal`: LiveKit must ask no other agent. */
export type AgentAnswer = Acceptance | { readonly kind: 'rejected'; readonly isFinal: boolean };

/** The frameworks name an agent that chose nothing after its job. */
export function identityOfJob(jobId: string): string {
  return `agent-${jobId}`;
}

function isChoice({ identity }: Acceptance, { spec }: Session): boolean {
  return identity !== '' && identity !== identityOfJob(spec.job?.id ?? spec.id);
}

/** Why the chosen identity is not used. null: it is. */
function refusalOf({ identity }: Acceptance, session: Session, isTaken: boolean): string | null {
  const { identityBytes } = LIVEKIT_BOUNDS;
  if (isTaken) return 'the agent of another session in the room has it';
  if (holderOf(identity, session) === 'person') return 'a person in the room has it';
  if (utf8Bytes(identity) > identityBytes) return `LiveKit accepts at most ${identityBytes} bytes`;
  return null;
}

/** An acceptance that LiveKit lets into the room, and one line for each part of it that is not used. The lines name no identity. */
export interface Usable {
  readonly acceptance: Acceptance;
  readonly notes: readonly string[];
}

/**
 * Gives the session's agent the identity that the agent chose. Without a usable choice it keeps the session's own.
 * Leaves out what is too large: LiveKit lets nobody in with it, and an agent without it is better than a caller alone.
 * `isTaken`: the agent of another session in the room has the identity. Two agents would throw each other out.
 */
export function accept<S extends Session>(
  session: S,
  answer: Acceptance,
  isTaken: boolean,
): { readonly session: S; readonly usable: Usable } {
  const chose = isChoice(answer, session);
  const refused = chose ? refusalOf(answer, session, isTaken) : null;
  const size = { metadata: utf8Bytes(answer.metadata), attributes: sizeOf(answer.attributes) };
  const { metadataBytes, attributesBytes } = LIVEKIT_BOUNDS;
  const isMetadataLarge = size.metadata > metadataBytes;
  const areAttributesLarge = size.attributes > attributesBytes;
  return {
    session: withIdentity(session, chose && refused === null ? answer.identity : null),
    usable: {
      acceptance: {
        ...answer,
        ...(isMetadataLarge && { metadata: '' }),
        ...(areAttributesLarge && { attributes: {} }),
      },
      notes: [
        ...(refused === null
          ? []
          : [`the agent joins with another identity than its acceptance chose: ${refused}`]),
        ...(isMetadataLarge ? [tooLarge('metadata', size.metadata, metadataBytes)] : []),
        ...(areAttributesLarge ? [tooLarge('attributes', size.attributes, attributesBytes)] : []),
      ],
    },
  };
}

/** `chosen` null: the session's own identity. */
function withIdentity<S extends Session>(session: S, chosen: string | null): S {
  const { spec } = session;
  const { ownIdentity = spec.agentIdentity } = spec;
  const agentIdentity = chosen ?? ownIdentity;
  if (agentIdentity === spec.agentIdentity) return session;
  return { ...session, spec: { ...spec, agentIdentity, ownIdentity } };
}

function tooLarge(what: string, bytes: number, most: number): string {
  return `the agent joins without the ${what} of its acceptance: LiveKit accepts at most ${most} bytes, and these have ${bytes}`;
}

/** As LiveKit counts: the keys and the values. */
function sizeOf(attributes: Acceptance['attributes']): number {
  return Object.entries(attributes).reduce((sum, [key, value]) => sum + utf8Bytes(key) + utf8Bytes(value), 0);
}

/** The holder of an identity in the room, as far as curfew knows. */
export function holderOf(identity: string, { presence }: Session): 'agent' | 'person' | 'nobody' {
  const holder = presence.participants.find((one) => one.identity === identity);
  if (holder === undefined) return 'nobody';
  return isAgent(holder) ? 'agent' : 'person';
}
