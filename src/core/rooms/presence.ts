/**
 * Who is in the room, as far as is known. Webhooks are hints, a complete look is the truth.
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
  /** The grant `agent`, whatever the kind. */
  readonly agentGrant: boolean;
  /** `sip.callStatus`; null: no such attribute. */
  readonly sipCallStatus: string | null;
  /** Published audio tracks, muted ones too. */
  readonly audioTracks: number;
  readonly joinedAtWallMs: number;
}

/** A complete look at one room. `asOf`: when the question was asked, so that nothing newer is claimed. */
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

/** From webhooks, verified and de-duplicated by the adapter. `roomSid` tells an older room of the same name. */
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

/** A caller who is no longer there, and how it went. */
export interface Departure {
  readonly identity: string;
  readonly sid: string;
  readonly kind: 'left' | 'lost';
  readonly reason: DisconnectReason;
  /** `participant_left`: a webhook said so. `snapshot`: a poll did not find the participant. */
  readonly source: 'participant_left' | 'snapshot';
  readonly at: Stamp;
}

/** A webhook's word that is newer than the last complete look. */
export interface PendingWebhook {
  readonly atMs: number;
  readonly joined: boolean;
  readonly participant: Participant;
}

export interface Presence {
  /** When the newest complete look was asked for; null: never looked. */
  readonly asOf: Stamp | null;
  readonly source: 'poll' | 'webhook';
  readonly reachable: boolean;
  readonly roomSid: string | null;
  /** Whether the room was there at the last look. */
  readonly roomThere: boolean;
  /** Rooms of the same name before this one: their late events are not ours. */
  readonly oldSids: readonly string[];
  readonly roomOrigin: 'unknown' | 'session' | 'other';
  readonly participants: readonly Participant[];
  readonly hints: readonly PendingWebhook[];
  readonly departures: readonly Departure[];
  readonly callersSeen: boolean;
  readonly phoneSeen: boolean;
  readonly agentSeen: boolean;
  /** No caller (or, before any, no ringing phone) since then. */
  readonly goneSinceMs: number | null;
  /** Callers are there, but none has a published audio track since then. */
  readonly silentSinceMs: number | null;
  /** A caller is there, our agent is not. `polls`: how many snapshots have shown that. */
  readonly agentGone: { readonly sinceMs: number; readonly polls: number } | null;
  /** Nobody is missed before then: LiveKit was away, or the clock stood still. */
  readonly floorMs: number;
  /** Told by a webhook, to be confirmed by a look. */
  readonly finished: { readonly roomSid: string; readonly at: Stamp } | null;
  readonly agentLeft: { readonly at: Stamp } | null;
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

/** What the fold must know of the session. */
export interface PresenceContext {
  readonly agentIdentity: string;
  readonly createdAt: Stamp;
  readonly callersLostMs: number;
}

export type Side = 'caller' | 'ringing' | 'own_agent' | 'agent' | 'other';

/** A caller is decided by an allow-list, never by "not an agent": kinds that are added later are no callers. */
const CALLER_KINDS: readonly ParticipantKind[] = ['standard', 'sip', 'connector', 'bridge'];

export function sideOf(participant: Participant, agentIdentity: string): Side {
  if (participant.state === 'joining' || participant.state === 'disconnected') return 'other';
  if (participant.identity === agentIdentity) return 'own_agent';
  if (participant.kind === 'agent' || participant.agentGrant) return 'agent';
  if (participant.hidden || participant.recorder || !CALLER_KINDS.includes(participant.kind)) return 'other';
  if (participant.kind !== 'sip') return 'caller';
  return sipSide(participant.sipCallStatus);
}

/** Whether it is, was or could become a caller, whatever its connection and call are doing now. */
export function isCallersKind(participant: Participant, agentIdentity: string): boolean {
  return sideOf({ ...participant, state: 'active', sipCallStatus: null }, agentIdentity) === 'caller';
}

function sipSide(callStatus: string | null): Side {
  if (callStatus === null || callStatus === 'active') return 'caller';
  return callStatus === 'hangup' ? 'other' : 'ringing';
}

export function countSide(presence: Presence, agentIdentity: string, side: Side): number {
  return presence.participants.filter((one) => sideOf(one, agentIdentity) === side).length;
}
