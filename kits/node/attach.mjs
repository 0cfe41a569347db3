/**
 * Reports the events of a LiveKit AgentSession to curfew: speech, tools, and errors of STT, LLM and TTS.
 * The kit does not import the framework. It subscribes to events by name, as in @livekit/agents 1.9.0. A version without
 * such an event never sends it.
 */
import { note } from './note.mjs';

/** At most one report of each kind in this time. While a person or the agent speaks, the report repeats. */
const EVERY_MS = 1000;
const SOURCES = new Map([
  ['stt_error', 'stt'],
  ['llm_error', 'llm'],
  ['realtime_model_error', 'llm'],
  ['tts_error', 'tts'],
]);

/**
 * Subscribes to the session's events. Never throws for an unexpected event.
 * @param {import('./curfew.d.mts').SessionEvents} session
 * @param {import('./curfew.d.mts').Curfew} curfew
 * @param {{ informs?: boolean }} [options] `informs`: curfew's launcher listens, and not the agent's code. Then errors that
 * the framework retries do not count.
 */
export function report(session, curfew, { informs = false } = {}) {
  const isDue = throttle();
  const active = (/** @type {import('./curfew.d.mts').ActivityKind} */ kind) => {
    if (isDue(kind)) curfew.activity(kind);
  };
  const caller = whileSpeaking(() => active('caller_speech'));
  const agent = whileSpeaking(() => active('agent_speech'));
  const { failed, worked } = components(curfew, isDue);

  /** @type {Record<string, (event: any) => void>} */
  const events = {
    user_state_changed: ({ oldState, newState }) => caller(oldState, newState),
    user_input_transcribed: ({ transcript }) => {
      if (!transcript) return;
      active('caller_speech');
      worked('stt');
    },
    agent_state_changed: ({ oldState, newState }) => {
      agent(oldState, newState);
      if (newState === 'speaking') worked('llm', 'tts');
    },
    conversation_item_added: ({ item }) => {
      if (item?.role === 'assistant') worked('llm');
      // The caller spoke, or wrote: a text has no audio.
      else if (item?.role === 'user') active('caller_speech');
    },
    function_tools_executed: () => {
      active('task');
      worked('llm');
    },
    error: ({ error }) => {
      if (!informs || error?.recoverable !== true) failed(error);
    },
    close: ({ reason, error }) => {
      caller('', 'closed');
      agent('', 'closed');
      // The launcher reports it with all AgentSessions of the job. Without this the job would stay and not answer the caller.
      if (reason === 'error' && !informs) curfew.failed(error?.error ?? 'an error closed the session');
    },
  };
  for (const [name, listener] of Object.entries(events)) {
    if (informs && name === 'error') hear(session, name, guarded(listener));
    else session.on(name, guarded(listener));
  }
}

/**
 * Hears an event without a listener. Because: Node throws an error event that nobody listens to, and the framework's retries
 * depend on that. The launcher must not change it.
 */
function hear(
  /** @type {any} */ session,
  /** @type {string} */ wanted,
  /** @type {(event: any) => void} */ heard,
) {
  const { emit } = session;
  session.emit = function emitAndHear(/** @type {string} */ name, /** @type {any[]} */ ...args) {
    if (name === wanted) heard(args[0]);
    return Reflect.apply(emit, this, [name, ...args]);
  };
}

/** Catches errors of a listener, because an event of another version must not end the conversation. */
function guarded(/** @type {(event: any) => void} */ listener) {
  return (/** @type {any} */ event) => {
    try {
      listener(event);
    } catch (error) {
      note(`curfew kit: an event of the session could not be read: ${error}`);
    }
  };
}

function throttle() {
  /** @type {Map<string, number>} */
  const last = new Map();
  return (/** @type {string} */ kind) => {
    const now = performance.now();
    if (now - (last.get(kind) ?? Number.NEGATIVE_INFINITY) < EVERY_MS) return false;
    last.set(kind, now);
    return true;
  };
}

/** Repeats the report during a long sentence, so that all of it counts as activity. */
function whileSpeaking(/** @type {() => void} */ say) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  return (/** @type {string} */ before, /** @type {string} */ now) => {
    clearInterval(timer);
    if (before === 'speaking' || now === 'speaking') say();
    if (now === 'speaking') timer = setInterval(say, EVERY_MS).unref();
  };
}

/** Reports a success only while no component fails. Otherwise a working STT would hide a broken TTS. */
function components(
  /** @type {import('./curfew.d.mts').Curfew} */ curfew,
  /** @type {(kind: string) => boolean} */ isDue,
) {
  /** @type {Set<string>} */
  const failing = new Set();
  return {
    failed: (/** @type {any} */ failure) => {
      const source = SOURCES.get(failure?.type);
      if (source === undefined) return;
      failing.add(source);
      curfew.error(failure.error ?? failure.type, source);
    },
    worked: (/** @type {string[]} */ ...sources) => {
      const recovered = sources.filter((source) => failing.delete(source)).length > 0;
      if (failing.size === 0 && (recovered || isDue('ok'))) curfew.ok();
    },
  };
}
