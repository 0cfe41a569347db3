/**
 * Who is in the room, as far as is known. Webhooks are hints, a complete look is the truth.
 * Facts: LiveKit's ParticipantInfo (`state`, `kind`, `permission`, `disconnect_reason`) and its webhook events.
 */
import type { Stamp } from './ids.ts';

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
export interface Observation {
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
export type RoomEvent =
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
