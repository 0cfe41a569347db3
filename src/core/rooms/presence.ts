/**
 * The presence of participants in a room, as far as it is known. Webhooks are hints, and a snapshot is the truth.
 * Facts: LiveKit's ParticipantInfo (`state`, `kind`, `permission`, `disconnect_reason`) and its webhook events.
 */
import type { Stamp } from '../ids.ts';

/** LiveKit's ParticipantInfo.Kind; a kind that this version does not know is `unknown` and is no caller. */
export type ParticipantKind =
  | 'standard'
  | 'ingress'
  | 'egress'
  | 'sip'
  | 'agent'
  | 'connector'
  | 'bridge'
  | 'unknown';

export interface Participant {
  readonly identity: string;
  readonly sid: string;
  readonly kind: ParticipantKind;
  readonly state: 'joining' | 'joined' | 'active' | 'disconnected';
  readonly hidden: boolean;
  readonly recorder: boolean;
  /** The grant `agent`, whatever the kind. An avatar that publishes on behalf of an agent counts as one with the grant. */
  readonly agentGrant: boolean;
  /** `sip.callStatus`; null: no such attribute. */
  readonly sipCallStatus: string | null;
  /** Published audio tracks, muted ones too. */
  readonly audioTracks: number;
  readonly joinedAtWallMs: number;
  /** As LiveKit reports them. A session's presence does not keep them. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** It may neither publish nor send data. */
  readonly listens?: true;
  /** The session's profile says that it is no caller. */
  readonly ignored?: true;
  /** A phone that somebody dialled from this side. */
  readonly outbound?: true;
}

/** All participants of one room. `asOf`: when the poll was sent, so that the snapshot claims nothing newer. */
export interface RoomSnapshot {
  readonly asOf: Stamp;
  /** null: there is no such room. */
  readonly roomSid: string | null;
  readonly roomCreatedWallMs: number | null;
  readonly participants: readonly Participant[];
}

/** LiveKit's DisconnectReason by name, in lower case; `unknown` for numbers this version does not know. */
export type DisconnectReason =
  | 'unknown'
  | 'client_initiated'
  | 'duplicate_identity'
  | 'server_shutdown'
  | 'participant_removed'
  | 'room_deleted'
  | 'state_mismatch'
  | 'join_failure'
  | 'migration'
  | 'signal_close'
  | 'room_closed'
  | 'user_unavailable'
  | 'user_rejected'
  | 'sip_trunk_failure'
  | 'connection_timeout'
  | 'media_failure'
  | 'agent_error';

/** A webhook that the adapter verified and de-duplicated. `roomSid` tells an older room of the same name. */
export type RoomWebhook =
  | {
      readonly kind: 'joined';
      readonly roomSid: string;
      readonly participant: Participant;
      readonly at: Stamp;
    }
  | {
      readonly kind: 'left';
      readonly roomSid: string;
      readonly participant: Participant;
      readonly reason: DisconnectReason;
      readonly at: Stamp;
    }
  | { readonly kind: 'changed'; readonly roomSid: string; readonly at: Stamp }
  | { readonly kind: 'finished'; readonly roomSid: string; readonly at: Stamp };

/** The departure of a caller, and how the caller left. */
export interface Departure {
  readonly identity: string;
  readonly sid: string;
  readonly kind: 'left' | 'lost';
  readonly reason: DisconnectReason;
  /** `participant_left`: a webhook said so. `snapshot`: a poll did not find the participant. */
  readonly source: 'participant_left' | 'snapshot';
  readonly at: Stamp;
  /** The caller was a phone. */
  readonly phone?: true;
}

/** A webhook that is newer than the last snapshot. */
export interface PendingWebhook {
  readonly atMs: number;
  readonly joined: boolean;
  readonly participant: Participant;
}

export interface Presence {
  /** When the poll of the newest snapshot was sent; null: there was none. */
  readonly asOf: Stamp | null;
  readonly source: 'poll' | 'webhook';
  readonly reachable: boolean;
  readonly roomSid: string | null;
  /** Whether the last snapshot found the room. */
  readonly roomThere: boolean;
  /** Sids of older rooms of the same name. Their late events do not count. */
  readonly oldSids: readonly string[];
  readonly roomOrigin: 'unknown' | 'session' | 'other';
  readonly participants: readonly Participant[];
  readonly hints: readonly PendingWebhook[];
  readonly departures: readonly Departure[];
  readonly callersSeen: boolean;
  /** A caller that may speak or write was there. Absent: none was. */
  readonly speakerSeen?: true;
  readonly phoneSeen: boolean;
  readonly agentSeen: boolean;
  /** No caller (or, before any, no ringing phone) since then. */
  readonly goneSinceMs: number | null;
  /** Callers are there, but none has a published audio track since then. */
  readonly silentSinceMs: number | null;
  /** A caller is there, our agent is not. `polls`: how many snapshots have shown that. */
  readonly agentGone: { readonly sinceMs: number; readonly polls: number } | null;
  /** No absence is due before then, because LiveKit was unreachable or the host was suspended. */
  readonly floorMs: number;
  /** When absence began to count again, after an outage, a gap or a restart. Absent: never. Records of older versions lack it. */
  readonly restartedMs?: number;
  /** Reported by a webhook. A snapshot must confirm it. */
  readonly finished: { readonly roomSid: string; readonly at: Stamp } | null;
  readonly agentLeft: { readonly at: Stamp } | null;
  /** When callers were back in a room that all earlier callers had left. Absent: never. Records of older versions lack it. */
  readonly returnedMs?: number;
  /** A phone was dialled from this side. Records of older versions lack it. */
  readonly outboundSeen?: true;
  /** Callers in the session's side room. */
  readonly sideCallers: number;
}

export const NO_PRESENCE: Presence = {
  asOf: null,
  source: 'poll',
  reachable: true,
  roomSid: null,
  roomThere: false,
  oldSids: [],
  roomOrigin: 'unknown',
  participants: [],
  hints: [],
  departures: [],
  callersSeen: false,
  phoneSeen: false,
  agentSeen: false,
  goneSinceMs: null,
  silentSinceMs: null,
  agentGone: null,
  floorMs: 0,
  finished: null,
  agentLeft: null,
  sideCallers: 0,
};

/** Participants that are no callers, although LiveKit knows them as people: listeners, note-taking bots, monitors. `*` matches any text. */
export interface IgnoreRule {
  /** Participants that only listen are no callers beside or after one that may speak or write. Absent: they are callers. */
  readonly listeners?: true;
  readonly identities: readonly string[];
  /** Names of attributes with a pattern of their value. One match is enough. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** The facts of the session that the reducer needs. */
export interface PresenceContext {
  readonly agentIdentity: string;
  readonly createdAt: Stamp;
  readonly callersLostMs: number;
  readonly ignore: IgnoreRule | undefined;
  /** The agent closed its last AgentSession because its caller left, so it answers nobody. */
  readonly isMute: boolean;
}

export type Side = 'caller' | 'ringing' | 'own_agent' | 'agent' | 'other';

/** Callers are decided by an allow-list, because kinds that LiveKit adds later are no callers. */
const CALLER_KINDS: readonly ParticipantKind[] = ['standard', 'sip', 'connector', 'bridge'];

export function sideOf(participant: Participant, agentIdentity: string): Side {
  if (participant.state === 'joining' || participant.state === 'disconnected') return 'other';
  // A person can take the identity of an agent, which LiveKit then throws out. The person stays a caller.
  if (isAgent(participant)) return participant.identity === agentIdentity ? 'own_agent' : 'agent';
  if (
    participant.ignored === true ||
    participant.hidden ||
    participant.recorder ||
    !CALLER_KINDS.includes(participant.kind)
  )
    return 'other';
  if (participant.kind !== 'sip') return 'caller';
  return sipSide(participant.sipCallStatus);
}

export function isAgent({ kind, agentGrant }: Participant): boolean {
  return kind === 'agent' || agentGrant;
}

/** Whether the participant is, was or can become a caller. The state of the connection and of the call does not matter. */
export function isCallersKind(participant: Participant, agentIdentity: string): boolean {
  return sideOf({ ...participant, state: 'active', sipCallStatus: null }, agentIdentity) === 'caller';
}

function sipSide(callStatus: string | null): Side {
  if (callStatus === null || callStatus === 'active') return 'caller';
  return callStatus === 'hangup' ? 'other' : 'ringing';
}

export function countSide(presence: Presence, agentIdentity: string, side: Side): number {
  return onSide(presence, agentIdentity, side).length;
}

/** The participants of a room, or of a snapshot of it, that are on this side. */
export function onSide(
  { participants }: Pick<RoomSnapshot, 'participants'>,
  agentIdentity: string,
  side: Side,
): readonly Participant[] {
  return participants.filter((one) => sideOf(one, agentIdentity) === side);
}

/** Another agent than the session's own serves the room, of this host or of another one. An avatar has no grant `agent`. */
export function hasOtherAgent(room: Pick<RoomSnapshot, 'participants'>, agentIdentity: string): boolean {
  return onSide(room, agentIdentity, 'agent').some(({ agentGrant }) => agentGrant);
}
