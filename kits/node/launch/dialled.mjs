/** Tells the main process that this job asked LiveKit to dial a phone. The next worker would dial again, so curfew starts none. */
const PATH = '/twirp/livekit.SIP/CreateSIPParticipant';

export function noteDials() {
  const { fetch } = globalThis;
  let isTold = false;
  globalThis.fetch = function fetchAndNote(input, init) {
    if (!isTold && process.connected && `${input?.url ?? input}`.includes(PATH)) {
      isTold = true;
      process.send?.({ case: 'curfewDialled' });
    }
    return fetch(input, init);
  };
}
