"""A LiveKit agent, written as for LiveKit itself. Only the line `attach(session)` is for curfew, and it is optional."""

import asyncio
import sys
import time
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, RunContext, cli, function_tool

from fakes import FakeLLM, FakeSTT, FakeTTS

# In your own project: pip install .../kits/python
sys.path.append(str(Path(__file__).resolve().parents[2] / "kits" / "python"))
from curfew_kit import attach  # noqa: E402

# On a busy host the process of a job needs more than the default of 10 s. Without a process the job is lost.
server = AgentServer(initialize_process_timeout=60.0)


class Clerk(Agent):
    def __init__(self):
        super().__init__(instructions="You answer the phone of a shop.")

    @function_tool
    async def find_order(self, context: RunContext):
        """Finds the caller's order."""
        await asyncio.sleep(0.2)
        return "it arrives tomorrow"

    @function_tool
    async def search_everywhere(self, context: RunContext):
        """Finds an order that was lost."""
        # The mistake that this example shows: it blocks the agent's event loop for ten minutes.
        time.sleep(600)
        return "it is lost"


@server.rtc_session()
async def entrypoint(ctx: JobContext):
    session = AgentSession(
        stt=FakeSTT(),
        llm=FakeLLM(),
        tts=FakeTTS(),
        vad=None,
        turn_handling={"turn_detection": "stt", "endpointing": {"min_delay": 0.1, "max_delay": 0.5}},
    )
    attach(session)  # the line for curfew
    await session.start(agent=Clerk(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
