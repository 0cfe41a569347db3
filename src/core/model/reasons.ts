/** Why a session ended: in the planned way (released), or by a fault (failed). */

export const RELEASED_REASONS = [
  'requested',
  'completed',
  'declined',
  'not_answered',
  'max_duration',
  'idle_timeout',
  'no_active_stream',
  'callers_left',
  'no_caller_joined',
  'room_finished',
  'shutdown',
] as const;

export const FAILED_REASONS = [
  'start_timeout',
  'error_limit',
  'crashed',
  'agent_absent',
  'unresponsive',
  'memory_limit',
  'worker_lost',
  'node_lost',
  'unkillable',
] as const;

export type Reason = (typeof RELEASED_REASONS)[number] | (typeof FAILED_REASONS)[number];
