/** Why there is no registration with LiveKit, in words for a person. */
import { messageOf } from '../../../lib/errors.ts';
import { JOBS } from '../../../lib/limits/livekit-limits.ts';

export const FAILURES = {
  noAnswer: 'LiveKit does not answer: something listens at livekit.url, but opens no WebSocket',
  noRegister: 'LiveKit accepted the connection but never answered the registration',
  notRegister: 'what answers at livekit.url is not LiveKit: its first frame is no answer to a registration',
  garbage: `LiveKit sent ${JOBS.garbageFrames} frames in a row that cannot be read`,
  tooLarge: `LiveKit sent a frame of more than ${JOBS.frameBytes} bytes`,
  silent: 'LiveKit was silent for too long',
} as const;

/** Its answer to the request for a WebSocket. */
export function describeStatus(status: number): string {
  if (status === 401 || status === 403)
    return `LiveKit refuses our key (${status}): livekit.api_key and livekit.api_secret must be a pair that it knows and that may register agents (grant "agent"), and both clocks must agree`;
  if (status === 429 || status >= 500) return `LiveKit answered ${status}`;
  return `the answer ${status} is not that of LiveKit's agent service: is livekit.url right?`;
}

/** Where several addresses were tried the message is empty, but the code is there. */
export function describeSocketError(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') return FAILURES.tooLarge;
  // Node's parser and the WebSocket's: what is there speaks something else.
  if (code.startsWith('HPE_') || code.startsWith('WS_ERR_'))
    return `the answer is not LiveKit's (${code}): is livekit.url right?`;
  return `LiveKit cannot be reached: ${code === '' ? messageOf(error) : code}`;
}

/** 1006: no close frame came. */
export function describeClose(code: number): string {
  return code === 1006 ? 'the connection to LiveKit was lost' : `LiveKit closed the connection (${code})`;
}
