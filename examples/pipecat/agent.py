"""A Pipecat agent on its LiveKit transport. curfew assigns the room and asks for the end; the agent reports activity."""

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
    """Finds orders. The search for a lost order has the mistake that this example shows."""

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame) and "lost" in frame.text:
            # This blocks the agent's event loop for ten minutes.
            time.sleep(600)
        await self.push_frame(frame, direction)


class Reporter(FrameProcessor):
    """Reports speech and spoken answers to curfew. It is the last stage, so it gets all frames."""

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
    # No idle timeout of Pipecat, because curfew decides about silence and about callers that left.
    worker = PipelineWorker(Pipeline(stages), idle_timeout_secs=None)

    @worker.event_handler("on_pipeline_error")
    async def on_pipeline_error(_worker, frame):
        curfew.error(frame.error, "pipeline")

    async def leave(*_):
        await worker.cancel()

    # The pipeline leaves the room when it ends.
    curfew.on_aclose(leave)
    # SIGTERM comes before SIGKILL and must do the same.
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=True)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    asyncio.run(serve(run))
