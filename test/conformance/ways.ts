/** The ways in which a call reaches an agent: under LiveKit's own runner, and under curfew. */
export const WAYS = [
  'livekit',
  'http-cold',
  'http-warm',
  'http-forked',
  'dispatch-cold',
  'dispatch-warm',
  'dispatch-forked',
] as const;
export type Way = (typeof WAYS)[number];
