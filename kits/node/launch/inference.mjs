/** Says once in the worker's log that LiveKit Inference refuses keys of curfew. Without this line the agent sees only a 401. */
import { note } from '../note.mjs';
import { claimsOf, OWN_KEY } from './own-keys.mjs';

const LINE =
  'LiveKit Inference refuses the keys of livekit_access: room (401); set LIVEKIT_INFERENCE_API_KEY and LIVEKIT_INFERENCE_API_SECRET, or livekit_access: full in the profile';
let isSaid = false;

/** `authorization`: of any request. Only tokens for inference have the grant `inference`. */
export function checkInference(authorization) {
  if (isSaid || authorization === undefined || authorization === null) return;
  const { iss, inference } = claimsOf(authorization);
  if (iss !== OWN_KEY || inference === undefined) return;
  isSaid = true;
  note(`curfew: ${LINE}`);
}
