/** STT, LLM and TTS without a network and a model: they hear a tone as a sentence, answer by rule, and speak a tone. */
import { APIError, llm, stt, tts } from '@livekit/agents';
import { AudioFrame } from '@livekit/rtc-node';

/** The LLM fails at this sentence. */
const BROKEN = 'say the unspeakable';
/** The sentence for a tone of about this many hertz. */
const SENTENCES = [
  [220, BROKEN],
  [440, 'hello'],
  [880, 'where is my order'],
  [1320, 'where is my lost order'],
];
/** The tool that a sentence needs. */
const TOOLS = { 'where is my order': 'findOrder', 'where is my lost order': 'searchEverywhere' };
const ANSWER = 'hello, this is the agent';

const LOUD = 500;
const SPEECH_S = 0.3;
const PAUSE_S = 0.4;
const VOICE_HZ = 440;
const VOICE_RATE = 24_000;
const FRAME_SAMPLES = VOICE_RATE / 50;
const S_PER_LETTER = 0.05;

let ids = 0;
const newId = () => `fake-${++ids}`;

export class FakeSTT extends stt.STT {
  label = 'fake.STT';

  constructor() {
    super({ streaming: true, interimResults: false });
  }

  async _recognize() {
    throw new Error('it streams');
  }

  stream({ connOptions } = {}) {
    return new Hearing(this, undefined, connOptions);
  }
}

/** Speech starts with enough sound and ends with a pause. The pitch selects the sentence. */
class Hearing extends stt.SpeechStream {
  label = 'fake.Hearing';

  async run() {
    let tone = new Tone();
    for await (const frame of this.input) {
      if (frame === stt.SpeechStream.FLUSH_SENTINEL) continue;
      const wasSpeech = tone.isSpeech;
      tone.hear(frame);
      if (tone.isSpeech && !wasSpeech) this.queue.put({ type: stt.SpeechEventType.START_OF_SPEECH });
      if (!tone.isOver) continue;
      if (tone.isSpeech) this.#say(tone.sentence());
      tone = new Tone();
    }
  }

  #say(text) {
    const heard = { text, language: 'en', startTime: 0, endTime: 0, confidence: 1 };
    this.queue.put({ type: stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives: [heard] });
    this.queue.put({ type: stt.SpeechEventType.END_OF_SPEECH });
  }
}

class Tone {
  #heardS = 0;
  #quietS = 0;
  #waves = 0;

  hear({ data, sampleRate }) {
    const seconds = data.length / sampleRate;
    if (data.every((sample) => sample < LOUD)) {
      this.#quietS += seconds;
      return;
    }
    this.#heardS += seconds;
    this.#quietS = 0;
    for (let at = 1; at < data.length; at += 1) if (data[at - 1] < 0 && data[at] >= 0) this.#waves += 1;
  }

  get isSpeech() {
    return this.#heardS >= SPEECH_S;
  }

  get isOver() {
    return this.#quietS >= PAUSE_S;
  }

  sentence() {
    const pitch = this.#waves / this.#heardS;
    const far = ([hertz]) => Math.abs(hertz - pitch);
    return SENTENCES.reduce((best, one) => (far(one) < far(best) ? one : best))[1];
  }
}

export class FakeLLM extends llm.LLM {
  label() {
    return 'fake.LLM';
  }

  chat({ chatCtx, toolCtx, connOptions }) {
    return new Thinking(this, { chatCtx, toolCtx, connOptions });
  }
}

/** Calls the tool that the caller's sentence needs, or says the tool's result, or the standard answer. */
class Thinking extends llm.LLMStream {
  async run() {
    const last = this.chatCtx.items.at(-1);
    if (last.type === 'message' && last.textContent === BROKEN)
      throw new APIError('the LLM is down', { retryable: false });
    const tool = last.type === 'message' ? TOOLS[last.textContent] : undefined;
    const delta =
      tool === undefined
        ? { content: last.type === 'function_call_output' ? last.output : ANSWER }
        : { toolCalls: [llm.FunctionCall.create({ callId: newId(), name: tool, args: '{}' })] };
    this.queue.put({ id: newId(), delta: { role: 'assistant', ...delta } });
  }
}

export class FakeTTS extends tts.TTS {
  label = 'fake.TTS';

  constructor() {
    super(VOICE_RATE, 1, { streaming: false });
  }

  synthesize(text, connOptions, abortSignal) {
    return new Speaking(text, this, connOptions, abortSignal);
  }

  stream() {
    throw new Error('it does not stream');
  }
}

/** A tone that is longer for a longer text. */
class Speaking extends tts.ChunkedStream {
  label = 'fake.Speaking';

  async run() {
    const [requestId, segmentId] = [newId(), newId()];
    const count = VOICE_RATE * S_PER_LETTER * this.inputText.length;
    for (let at = 0; at < count; at += FRAME_SAMPLES) {
      const wave = (_, index) => 10_000 * Math.sin((2 * Math.PI * VOICE_HZ * (at + index)) / VOICE_RATE);
      const data = Int16Array.from({ length: FRAME_SAMPLES }, wave);
      const frame = new AudioFrame(data, VOICE_RATE, 1, FRAME_SAMPLES);
      this.queue.put({ requestId, segmentId, frame, final: at + FRAME_SAMPLES >= count });
    }
    this.queue.close();
  }
}
