/** The mapping from LiveKit's JSON to the core's participants. */
import { describe, expect, it } from 'vitest';
import { toParticipant, toReason } from '../../../src/adapters/livekit/rooms/participant-mapping.ts';
import { sideOf } from '../../../src/core/rooms/presence.ts';

const BASE = { identity: 'ann', sid: 'PA_1', state: 'ACTIVE' };

describe('a participant of LiveKit', () => {
  it.each([
    [undefined, 'standard', 'caller'],
    ['STANDARD', 'standard', 'caller'],
    ['INGRESS', 'ingress', 'other'],
    ['EGRESS', 'egress', 'other'],
    ['SIP', 'sip', 'caller'],
    ['AGENT', 'agent', 'agent'],
    ['CONNECTOR', 'connector', 'caller'],
    ['BRIDGE', 'bridge', 'caller'],
    [0, 'standard', 'caller'],
    [3, 'sip', 'caller'],
    [4, 'agent', 'agent'],
    [7, 'connector', 'caller'],
    [8, 'bridge', 'caller'],
    // A kind that this version does not know, by name or by number, is never a caller.
    ['HOLOGRAM', 'unknown', 'other'],
    ['unknown', 'unknown', 'other'],
    [5, 'unknown', 'other'],
    [99, 'unknown', 'other'],
  ] as const)('of kind %s is read as %s and counts as %s', (given, kind, side) => {
    const participant = toParticipant(given === undefined ? BASE : { ...BASE, kind: given });
    expect(participant.kind).toBe(kind);
    expect(sideOf(participant, 'agent-of-ours')).toBe(side);
  });

  it.each([
    [undefined, 'joining', 'other'],
    ['JOINING', 'joining', 'other'],
    ['JOINED', 'joined', 'caller'],
    ['ACTIVE', 'active', 'caller'],
    ['DISCONNECTED', 'disconnected', 'other'],
  ])('in state %s is read as %s and counts as %s', (given, state, side) => {
    const { state: _, ...rest } = BASE;
    const participant = toParticipant(given === undefined ? rest : { ...rest, state: given });
    expect(participant.state).toBe(state);
    expect(sideOf(participant, 'agent-of-ours')).toBe(side);
  });

  const service = { 'sip.callID': 'SCL_1', 'sip.trunkID': 'ST_1' };
  it.each([
    ['dialled from this side while it rings', { 'sip.callStatus': 'ringing' }, true],
    ['dialled from this side after a quick pickup', { ...service, 'sip.callStatus': 'active' }, true],
    ['of an inbound call', { ...service, 'sip.callStatus': 'active', 'sip.ruleID': 'SDR_1' }, undefined],
    ['of another bridge, which names no call of LiveKit', { 'sip.callStatus': 'active' }, undefined],
  ])('that is a phone %s is known as such', (_what, attributes, outbound) => {
    expect(toParticipant({ ...BASE, kind: 'SIP', attributes }).outbound).toBe(outbound);
  });

  it.each([
    ['hidden', 'other'],
    ['recorder', 'other'],
    ['agent', 'agent'],
  ])('with the grant %s counts as %s', (grant, side) => {
    expect(sideOf(toParticipant({ ...BASE, permission: { [grant]: true } }), 'agent-of-ours')).toBe(side);
  });

  it.each([
    ['dialing', 'ringing'],
    ['ringing', 'ringing'],
    ['automation', 'ringing'],
    ['active', 'caller'],
    ['hangup', 'other'],
  ])('on a phone with the call status %s counts as %s', (status, side) => {
    const phone = { ...BASE, kind: 'SIP', attributes: { 'sip.callStatus': status } };
    expect(sideOf(toParticipant(phone), 'agent-of-ours')).toBe(side);
  });

  it('has all audio tracks counted, muted ones too, and its join time read from either field', () => {
    const tracks = [{ type: 'AUDIO', muted: true }, { type: 'VIDEO' }, { type: 'AUDIO' }, { type: 'DATA' }];
    expect(toParticipant({ ...BASE, tracks, joinedAtMs: '1700000000123' })).toEqual({
      ...{ identity: 'ann', sid: 'PA_1', kind: 'standard', state: 'active' },
      ...{ hidden: false, recorder: false, agentGrant: false, sipCallStatus: null },
      ...{ audioTracks: 2, joinedAtWallMs: 1_700_000_000_123, attributes: {} },
    });
    expect(toParticipant({ ...BASE, joined_at: '1700000000' }).joinedAtWallMs).toBe(1_700_000_000_000);
  });
});

describe('the reason of a disconnect', () => {
  it.each([
    [undefined, 'unknown'],
    ['CLIENT_INITIATED', 'client_initiated'],
    ['DUPLICATE_IDENTITY', 'duplicate_identity'],
    ['SERVER_SHUTDOWN', 'server_shutdown'],
    ['PARTICIPANT_REMOVED', 'participant_removed'],
    ['ROOM_DELETED', 'room_deleted'],
    ['STATE_MISMATCH', 'state_mismatch'],
    ['JOIN_FAILURE', 'join_failure'],
    ['MIGRATION', 'migration'],
    ['SIGNAL_CLOSE', 'signal_close'],
    ['ROOM_CLOSED', 'room_closed'],
    ['USER_UNAVAILABLE', 'user_unavailable'],
    ['USER_REJECTED', 'user_rejected'],
    ['SIP_TRUNK_FAILURE', 'sip_trunk_failure'],
    ['CONNECTION_TIMEOUT', 'connection_timeout'],
    ['MEDIA_FAILURE', 'media_failure'],
    ['AGENT_ERROR', 'agent_error'],
    [1, 'client_initiated'],
    [16, 'agent_error'],
    [99, 'unknown'],
    ['BORED', 'unknown'],
  ])('%s of LiveKit is read as %s', (given, reason) => {
    expect(toReason(given === undefined ? BASE : { ...BASE, disconnectReason: given })).toBe(reason);
  });

  it('takes a participant that publishes on behalf of an agent for an agent, whatever its kind', () => {
    const sideWith = (attributes: Record<string, string>) =>
      sideOf(toParticipant({ ...BASE, kind: 'STANDARD', attributes }), 'agent-of-ours');
    expect(sideWith({ 'lk.publish_on_behalf': 'agent-of-ours' })).toBe('agent');
    expect(sideWith({ 'lk.publish_on_behalf': '' })).toBe('caller');
  });
});
