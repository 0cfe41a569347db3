/** What went wrong between LiveKit and us, in words for a person. LiveKit's own text is left out: it quotes tokens, and may name rooms. */
import { ServerError } from 'livekit-server-sdk';

/** It did not answer in time. */
export function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError';
}

/** It answered, if only to refuse. */
export function isAnswer(error: unknown): boolean {
  return error instanceof ServerError;
}

/** By Twirp's code: a bare 404 comes from something that is no LiveKit. */
export function isNotFound(error: unknown): boolean {
  return error instanceof ServerError && error.code === 'not_found';
}

export function describeFailure(error: unknown): string {
  if (isTimeout(error)) return 'LiveKit did not answer in time';
  if (error instanceof ServerError) return describeAnswer(error.status, error.code);
  if (error instanceof TypeError) return `LiveKit cannot be reached: ${rootOf(error)}`;
  return "the answer is not LiveKit's: is livekit.url right?";
}

function describeAnswer(status: number, code: string | undefined): string {
  if (status === 401)
    return 'LiveKit refuses our key (401): livekit.api_key and livekit.api_secret must be a pair that it knows, and both clocks must agree';
  if (code === undefined) return `the answer ${status} is not LiveKit's: is livekit.url right?`;
  return `LiveKit answered ${status} ${code}`;
}

/** fetch says no more than "fetch failed"; the reason is beneath, and without a text where several addresses were tried. */
function rootOf(error: TypeError): string {
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  return code === '' ? cause.message : code;
}
