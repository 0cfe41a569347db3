"""STT, LLM and TTS without a network and a model: they hear a tone as a sentence, answer by rule, and speak a tone."""

import math
from array import array

from livekit import rtc
from livekit.agents import APIError, DEFAULT_API_CONNECT_OPTIONS, llm, stt, tts, utils

#: The LLM fails at this sentence.
BROKEN = "say the unspeakable"
#: The sentence for a tone of about this many hertz.
SENTENCES = {220: BROKEN, 440: "hello", 880: "where is my order", 1320: "where is my lost order"}
#: The tool that a sentence needs.
TOOLS = {"where is my order": "find_order", "where is my lost order": "search_everywhere"}
ANSWER = "hello, this is the agent"

LOUD = 500
SPEECH_SECONDS = 0.3
PAUSE_SECONDS = 0.4
VOICE_HZ = 440
VOICE_RATE = 24_000
SECONDS_PER_LETTER = 0.05


class FakeSTT(stt.STT):
    def __init__(self):
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=False))

    async def _recognize_impl(self, buffer, **_):
        raise NotImplementedError("it streams")

    def stream(self, *, conn_options=DEFAULT_API_CONNECT_OPTIONS, **_):
        return _Hearing(stt=self, conn_options=conn_options)


class _Hearing(stt.RecognizeStream):
    """Speech starts with enough sound and ends with a pause. The pitch selects the sentence."""

    async def _run(self):
        tone = _Tone()
        async for frame in self._input_ch:
            if not isinstance(frame, rtc.AudioFrame):
                continue
            was_speech = tone.is_speech
            tone.hear(frame)
            if tone.is_speech and not was_speech:
                self._say(stt.SpeechEventType.START_OF_SPEECH)
            if tone.is_over:
                if tone.is_speech:
                    self._say(stt.SpeechEventType.FINAL_TRANSCRIPT, tone.sentence())
                    self._say(stt.SpeechEventType.END_OF_SPEECH)
                tone = _Tone()

    def _say(self, kind, text=None):
        alternatives = [] if text is None else [stt.SpeechData(language="en", text=text)]
        self._event_ch.send_nowait(stt.SpeechEvent(type=kind, alternatives=alternatives))


class _Tone:
    def __init__(self):
        self.heard = 0.0
        self.quiet = 0.0
        self.waves = 0

    def hear(self, frame):
        samples = array("h", bytes(frame.data))
        if max(samples, default=0) < LOUD:
            self.quiet += frame.duration
            return
        self.heard += frame.duration
        self.quiet = 0.0
        self.waves += sum(before < 0 <= now for before, now in zip(samples, samples[1:]))

    @property
    def is_speech(self):
        return self.heard >= SPEECH_SECONDS

    @property
    def is_over(self):
        return self.quiet >= PAUSE_SECONDS

    def sentence(self):
        pitch = self.waves / self.heard
        return SENTENCES[min(SENTENCES, key=lambda hertz: abs(hertz - pitch))]


class FakeLLM(llm.LLM):
    def chat(self, *, chat_ctx, tools=None, conn_options=DEFAULT_API_CONNECT_OPTIONS, **_):
        return _Thinking(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _Thinking(llm.LLMStream):
    """Calls the tool that the caller's sentence needs, or says the tool's result, or the standard answer."""

    async def _run(self):
        last = self._chat_ctx.items[-1]
        if last.type == "message" and last.text_content == BROKEN:
            raise APIError("the LLM is down", retryable=False)
        tool = TOOLS.get(last.text_content) if last.type == "message" else None
        if tool is not None:
            call = llm.FunctionToolCall(name=tool, arguments="{}", call_id=utils.shortuuid())
            delta = llm.ChoiceDelta(role="assistant", tool_calls=[call])
        else:
            found = last.output if last.type == "function_call_output" else ANSWER
            delta = llm.ChoiceDelta(role="assistant", content=found)
        self._event_ch.send_nowait(llm.ChatChunk(id=utils.shortuuid(), delta=delta))


class FakeTTS(tts.TTS):
    def __init__(self):
        capabilities = tts.TTSCapabilities(streaming=False)
        super().__init__(capabilities=capabilities, sample_rate=VOICE_RATE, num_channels=1)

    def synthesize(self, text, *, conn_options=DEFAULT_API_CONNECT_OPTIONS):
        return _Speaking(tts=self, input_text=text, conn_options=conn_options)


class _Speaking(tts.ChunkedStream):
    """A tone that is longer for a longer text."""

    async def _run(self, output_emitter):
        output_emitter.initialize(
            request_id=utils.shortuuid(), sample_rate=VOICE_RATE, num_channels=1, mime_type="audio/pcm"
        )
        count = round(VOICE_RATE * SECONDS_PER_LETTER * len(self.input_text))
        wave = (round(10_000 * math.sin(2 * math.pi * VOICE_HZ * at / VOICE_RATE)) for at in range(count))
        output_emitter.push(array("h", wave).tobytes())
        output_emitter.flush()
