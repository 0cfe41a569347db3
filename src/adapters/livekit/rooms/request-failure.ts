/** Texts for people about failed requests to LiveKit. LiveKit's own text is dropped: it quotes tokens and may name rooms. */
import { ServerError } from 'livekit-server-sdk';

/** True: LiveKit did not answer in time. */
export function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError';
}

/** True: LiveKit answered, even if the answer is a refusal. */
export function isAnswer(error: unknown): boolean {
  return error instanceof ServerError;
}

/** Checks Twirp's code, because a 404 without it comes from another program than LiveKit. */
export function isNotFound(error: unknown): boolean {
  return error instanceof ServerError && error.code === 'not_found';
}

export function describeFailure(error: unknown): string {
  if (isTimeout(error)) return 'LiveKit did not answer in time';
  if (error instanceof ServerError) return describeAnswer(error.status, error.code);
  if (error instanceof TypeError) return `LiveKit cannot be reached: ${rootOf(error)}`;
  return 'the answer is not from LiveKit; check livekit.url';
}

function describeAnswer(status: number, code: string | undefined): string {
  if (status === 401)
    return 'LiveKit refuses our key (401). Check livekit.api_key and livekit.api_secret, and compare both clocks';
  if (code === undefined) return `the answer ${status} is not from LiveKit; check livekit.url`;
  return `LiveKit answered ${status} ${code}`;
}

/** fetch says only "fetch failed". The cause has the reason, but no text after attempts at several addresses. */
function rootOf(error: TypeError): string {
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  return code === '' ? cause.message : code;
}
