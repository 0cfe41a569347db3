/** Tells the main process that this job asked LiveKit to dial a phone. The next worker would dial again, so curfew starts none. */
import { tellMainProcess } from './main-channel.mjs';

/** The methods of LiveKit's API that begin a call from this side. kits/python/launch/curfew_launch/dialled.py has the same ones. */
const DIALS =
  /\/twirp\/livekit\.(SIP\/CreateSIPParticipant|Connector\/(DialWhatsAppCall|ConnectTwilioCall))\b/;

export function noteDials() {
  const { fetch } = globalThis;
  let isTold = false;
  globalThis.fetch = function fetchAndNote(input, init) {
    if (!isTold && DIALS.test(`${input?.url ?? input}`)) isTold = tellMainProcess({ case: 'curfewDialled' });
    return fetch(input, init);
  };
}
