"""A Pipecat agent on its LiveKit transport. curfew gives it its room and says when to go; it says what it does."""

import asyncio
import sys
import time
from pathlib import Path

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    TranscriptionFrame,
    TTSStoppedFrame,
    UserStartedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.livekit.transport import LiveKitParams, LiveKitTransport
from pipecat.workers.runner import WorkerRunner

from fakes import FakeLLM, FakeSTT, FakeTTS

# In your own project: pip install .../kits/python
sys.path.append(str(Path(__file__).resolve().parents[2] / "kits" / "python"))
from curfew_kit import serve  # noqa: E402


class Search(FrameProcessor):
    """Finds orders; the lost ones with a mistake that this example is about."""

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame) and "lost" in frame.text:
            # Nothing else of the agent runs for ten minutes.
            time.sleep(600)
        await self.push_frame(frame, direction)


class Reporter(FrameProcessor):
    """Last in the pipeline, where all of it passes: tells curfew who speaks, and what went well."""

    def __init__(self, curfew):
        super().__init__()
        self._curfew = curfew

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, UserStartedSpeakingFrame):
            self._curfew.activity("caller_speech")
        elif isinstance(frame, BotStartedSpeakingFrame):
            self._curfew.activity("agent_speech")
        elif isinstance(frame, TTSStoppedFrame):
            self._curfew.ok()
        await self.push_frame(frame, direction)


async def run(job, curfew):
    transport = LiveKitTransport(
        url=job.livekit_url,
        token=job.livekit_token,
        room_name=job.room,
        params=LiveKitParams(audio_in_enabled=True, audio_out_enabled=True, audio_in_user_tracks=False),
    )
    stages = [transport.input(), FakeSTT(), Search(), FakeLLM(), FakeTTS(), transport.output(), Reporter(curfew)]
    # How long nobody may speak is curfew's to say, and where the caller is as well.
    worker = PipelineWorker(Pipeline(stages), idle_timeout_secs=None)

    @worker.event_handler("on_pipeline_error")
    async def on_pipeline_error(_worker, frame):
        curfew.error(frame.error, "pipeline")

    async def leave(*_):
        await worker.cancel()

    # The pipeline leaves the room as it ends.
    curfew.on_aclose(leave)
    # SIGTERM is the supervisor's last warning, and is treated the same.
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=True)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    asyncio.run(serve(run))
