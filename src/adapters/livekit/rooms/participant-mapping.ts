/** Maps LiveKit's JSON to the core's types. Kinds and reasons that this version does not know become `unknown`. */
import { ParticipantInfo, TrackType } from 'livekit-server-sdk';
import type { Json } from '../../../core/ids.ts';
import type { DisconnectReason, Participant, ParticipantKind } from '../../../core/rooms/presence.ts';

export type ParticipantJson = Record<string, Json>;

const KINDS: Readonly<Record<number, ParticipantKind>> = {
  0: 'standard',
  1: 'ingress',
  2: 'egress',
  3: 'sip',
  4: 'agent',
  7: 'connector',
  8: 'bridge',
};

const STATES = ['joining', 'joined', 'active', 'disconnected'] as const;

const REASONS: readonly DisconnectReason[] = [
  'unknown',
  'client_initiated',
  'duplicate_identity',
  'server_shutdown',
  'participant_removed',
  'room_deleted',
  'state_mismatch',
  'join_failure',
  'migration',
  'signal_close',
  'room_closed',
  'user_unavailable',
  'user_rejected',
  'sip_trunk_failure',
  'connection_timeout',
  'media_failure',
  'agent_error',
];

/** LiveKit's attribute of an avatar. Because: an agent can make the avatar's token without the kind AGENT. */
const ON_BEHALF = 'lk.publish_on_behalf';

export function toParticipant(json: ParticipantJson): Participant {
  const info = decode(json);
  const { permission } = info;
  const kind = toKind(json.kind);
  return {
    identity: info.identity,
    sid: info.sid,
    kind,
    state: STATES[Number(info.state)] ?? 'active',
    hidden: permission?.hidden ?? false,
    recorder: permission?.recorder ?? false,
    agentGrant: (permission?.agent ?? false) || (info.attributes[ON_BEHALF] ?? '') !== '',
    sipCallStatus: info.attributes['sip.callStatus'] ?? null,
    audioTracks: info.tracks.filter((track) => track.type === TrackType.AUDIO).length,
    joinedAtWallMs: info.joinedAtMs > 0n ? Number(info.joinedAtMs) : Number(info.joinedAt) * 1000,
    attributes: info.attributes,
    ...(permission !== undefined &&
      !permission.canPublish &&
      !permission.canPublishData && { listens: true }),
    ...(isOutbound(kind, info.attributes) && { outbound: true }),
  };
}

/**
 * LiveKit names the dispatch rule of an inbound call alone. So a phone without a rule was dialled from this side.
 * A phone can be picked up between two polls, so an answered one counts, too. Only LiveKit's own SIP service sets the id of a call.
 */
function isOutbound(kind: ParticipantKind, attributes: Readonly<Record<string, string>>): boolean {
  if (kind !== 'sip' || (attributes['sip.ruleID'] ?? '') !== '') return false;
  const status = attributes['sip.callStatus'];
  const isCalled = status === 'dialing' || status === 'ringing';
  return isCalled || (attributes['sip.callID'] ?? '') !== '';
}

export function toReason(json: ParticipantJson): DisconnectReason {
  return REASONS[Number(decode(json).disconnectReason)] ?? 'unknown';
}

function decode(json: ParticipantJson): ParticipantInfo {
  return ParticipantInfo.fromJson(json, { ignoreUnknownFields: true });
}

/**
 * Because: the SDK decodes an unknown kind as STANDARD. So the kind is read from the JSON itself.
 * An absent kind is STANDARD, because protobuf omits zero.
 */
function toKind(kind: Json | undefined): ParticipantKind {
  if (kind === undefined || kind === null) return 'standard';
  if (typeof kind === 'number') return KINDS[kind] ?? 'unknown';
  return Object.values(KINDS).find((known) => known.toUpperCase() === kind) ?? 'unknown';
}
