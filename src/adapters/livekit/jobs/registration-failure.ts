/** Texts for people about a failed registration with LiveKit. */
import { messageOf } from '../../../lib/errors.ts';
import { JOBS } from '../../../lib/limits/livekit-limits.ts';

export const FAILURES = {
  noAnswer: 'LiveKit does not answer: a program listens at livekit.url, but opens no WebSocket',
  noRegister: 'LiveKit accepted the connection but never answered the registration',
  notRegister:
    'the program at livekit.url is not LiveKit: its first frame is not an answer to a registration',
  garbage: `LiveKit sent ${JOBS.garbageFrames} frames in a row that cannot be read`,
  tooLarge: `LiveKit sent a frame of more than ${JOBS.frameBytes} bytes`,
  silent: 'LiveKit was silent for too long',
} as const;

/** Describes the HTTP status that answered the request for a WebSocket. */
export function describeStatus(status: number): string {
  if (status === 401 || status === 403)
    return `LiveKit refuses our key (${status}). Check livekit.api_key and livekit.api_secret, whether they may register agents (grant "agent"), and both clocks`;
  if (status === 429 || status >= 500) return `LiveKit answered ${status}`;
  return `the answer ${status} is not from LiveKit's agent service; check livekit.url`;
}

/** After attempts at several addresses the error's message is empty, so the code is used. */
export function describeSocketError(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') return FAILURES.tooLarge;
  // Codes of Node's HTTP parser and of ws: the peer speaks another protocol.
  if (code.startsWith('HPE_') || code.startsWith('WS_ERR_'))
    return `the answer is not from LiveKit (${code}); check livekit.url`;
  return `LiveKit cannot be reached: ${code === '' ? messageOf(error) : code}`;
}

/** 1006: no close frame came. */
export function describeClose(code: number): string {
  return code === 1006 ? 'the connection to LiveKit was lost' : `LiveKit closed the connection (${code})`;
}
