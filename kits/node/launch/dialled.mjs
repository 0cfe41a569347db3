/** Notes that this job asked LiveKit to dial a phone, because curfew must not replace such a job after an exception. */
const PATH = '/twirp/livekit.SIP/CreateSIPParticipant';

class Calls {
  made = false;
}
export const calls = new Calls();

export function noteDials() {
  const { fetch } = globalThis;
  globalThis.fetch = function fetchAndNote(input, init) {
    if (`${input?.url ?? input}`.includes(PATH)) calls.made = true;
    return fetch(input, init);
  };
}
