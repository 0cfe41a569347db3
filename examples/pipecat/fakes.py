"""STT, LLM and TTS without a network and a model: they hear a tone as a sentence, answer by rule, and speak a tone."""

import math
from array import array

from pipecat.frames.frames import (
    InputAudioRawFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.utils.time import time_now_iso8601

#: The LLM fails at this sentence.
BROKEN = "say the unspeakable"
#: The sentence for a tone of about this many hertz.
SENTENCES = {220: BROKEN, 440: "hello", 1320: "where is my lost order"}
ANSWER = "hello, this is the agent"

LOUD = 500
SPEECH_SECONDS = 0.3
PAUSE_SECONDS = 0.4
VOICE_HZ = 440
VOICE_RATE = 24_000
SECONDS_PER_LETTER = 0.05
#: Length of one piece of audio.
PIECE_SECONDS = 0.02


class FakeSTT(FrameProcessor):
    """Speech starts with enough sound and ends with a pause. The pitch selects the sentence."""

    def __init__(self):
        super().__init__()
        self._tone = _Tone()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if not isinstance(frame, InputAudioRawFrame):
            await self.push_frame(frame, direction)
            return
        was_speech = self._tone.is_speech
        self._tone.hear(frame)
        if self._tone.is_speech and not was_speech:
            await self.push_frame(UserStartedSpeakingFrame())
        if self._tone.is_over:
            tone, self._tone = self._tone, _Tone()
            if tone.is_speech:
                await self.push_frame(UserStoppedSpeakingFrame())
                await self.push_frame(TranscriptionFrame(tone.sentence(), "caller", time_now_iso8601()))


class _Tone:
    def __init__(self):
        self.heard = 0.0
        self.quiet = 0.0
        self.waves = 0

    def hear(self, frame):
        samples = array("h", frame.audio)
        seconds = frame.num_frames / frame.sample_rate
        if max(samples, default=0) < LOUD:
            self.quiet += seconds
            return
        self.heard += seconds
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


class FakeLLM(FrameProcessor):
    """Always gives the same answer."""

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if not isinstance(frame, TranscriptionFrame):
            await self.push_frame(frame, direction)
        elif frame.text == BROKEN:
            await self.push_error("the LLM is down")
        else:
            await self.push_frame(LLMFullResponseStartFrame())
            await self.push_frame(LLMTextFrame(ANSWER))
            await self.push_frame(LLMFullResponseEndFrame())


class FakeTTS(FrameProcessor):
    """A tone that is longer for a longer text."""

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if not isinstance(frame, LLMTextFrame):
            return
        await self.push_frame(TTSStartedFrame())
        count = round(VOICE_RATE * SECONDS_PER_LETTER * len(frame.text))
        wave = array("h", (round(10_000 * math.sin(2 * math.pi * VOICE_HZ * at / VOICE_RATE)) for at in range(count)))
        piece = round(VOICE_RATE * PIECE_SECONDS)
        for at in range(0, count, piece):
            await self.push_frame(TTSAudioRawFrame(wave[at : at + piece].tobytes(), VOICE_RATE, 1))
        await self.push_frame(TTSStoppedFrame())
