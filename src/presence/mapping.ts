/** LiveKit's wire types to the core's words, by number: later kinds and reasons than the SDK knows are `unknown`. */
import type { ParticipantInfo } from 'livekit-server-sdk';
import { TrackType } from 'livekit-server-sdk';
import type { DisconnectReason, Participant, ParticipantKind } from '../core/presence.ts';

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

export function toParticipant(info: ParticipantInfo): Participant {
  const { permission } = info;
  return {
    identity: info.identity,
    sid: info.sid,
    kind: KINDS[Number(info.kind)] ?? 'unknown',
    state: STATES[Number(info.state)] ?? 'active',
    hidden: permission?.hidden ?? false,
    recorder: permission?.recorder ?? false,
    agentGrant: permission?.agent ?? false,
    sipCallStatus: info.attributes['sip.callStatus'] ?? null,
    audioTracks: info.tracks.filter((track) => track.type === TrackType.AUDIO).length,
    joinedAtWallMs: joinedAt(info),
  };
}

function joinedAt(info: ParticipantInfo): number {
  return info.joinedAtMs > 0n ? Number(info.joinedAtMs) : Number(info.joinedAt) * 1000;
}

export function toReason(info: ParticipantInfo): DisconnectReason {
  return REASONS[Number(info.disconnectReason)] ?? 'unknown';
}
