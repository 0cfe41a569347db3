"""
An agent of the usual shape. The room's metadata is its prompt, and the entrypoint starts a recording.
An avatar joins with a token of its own, and a tool takes long. A shutdown callback writes a summary.
The request function knows the opening hours.
The file has no code for curfew. Only the notes and the shorter times are for the suite.
"""

import asyncio
import json
import os
import time

from livekit import agents, api, rtc
from livekit.agents import Agent, AgentSession, JobContext, JobRequest, cli

TOOL_SECONDS = float(os.environ.get("PRODUCTION_TOOL_SECONDS", "30"))
SUMMARY_SECONDS = float(os.environ.get("PRODUCTION_SUMMARY_SECONDS", "20"))
SETTINGS = {
    "initialize_process_timeout": 60.0,
    # The default of 10 s cuts the summary.
    "shutdown_process_timeout": 45.0,
    "num_idle_processes": 1,
    "load_fnc": lambda *_: 0.0,
}


def order_of(job) -> dict:
    return json.loads(job.metadata)


def note(order: dict, what: str, **data) -> None:
    with open(order["out"], "a") as out:
        out.write(json.dumps({"at": int(time.time() * 1000), "what": what, "pid": os.getpid(), **data}) + "\n")


async def on_request(request: JobRequest) -> None:
    order = order_of(request.job)
    note(order, "request", room=request.room.metadata)
    if order.get("closed"):
        await request.reject()
        return
    await request.accept(name="Ada", identity=f"ada-{request.room.name}", attributes={"desk": "front"})


class FrontDesk(Agent):
    def __init__(self, order: dict, prompt: str) -> None:
        super().__init__(instructions=prompt)
        self.order = order

    async def on_enter(self) -> None:
        note(self.order, "on_enter", prompt=self.instructions)

    async def on_exit(self) -> None:
        note(self.order, "on_exit")


async def record(ctx: JobContext, order: dict) -> None:
    output = api.EncodedFileOutput(filepath=f"{ctx.room.name}.ogg")
    request = api.RoomCompositeEgressRequest(room_name=ctx.room.name, audio_only=True, file_outputs=[output])
    try:
        await ctx.api.egress.start_room_composite_egress(request)
        note(order, "recording")
    except api.TwirpError as error:
        note(order, "no_recording", code=error.code)


async def bring_avatar(ctx: JobContext) -> rtc.Room:
    grants = api.VideoGrants(room_join=True, room=ctx.room.name)
    token = api.AccessToken().with_identity("avatar").with_kind("agent").with_grants(grants)
    token = token.with_attributes({"lk.publish_on_behalf": ctx.room.local_participant.identity})
    room = rtc.Room()
    await room.connect(os.environ["LIVEKIT_URL"], token.to_jwt())
    return room


async def tool(order: dict) -> None:
    note(order, "tool_begins")
    await asyncio.sleep(TOOL_SECONDS)
    note(order, "tool_ends")


def is_first(order: dict) -> bool:
    """The fault that ends the process comes once, so an agent that takes the call over goes on."""
    try:
        os.mkdir(order["out"] + ".crashed")
        return True
    except FileExistsError:
        return False


async def entrypoint(ctx: JobContext) -> None:
    order = order_of(ctx.job)
    prompt = json.loads(ctx.job.room.metadata or "{}").get("prompt", "")
    note(order, "entry", prompt=prompt, job={"id": ctx.job.id})

    async def summary() -> None:
        note(order, "summary_begins")
        await asyncio.sleep(SUMMARY_SECONDS)
        note(order, "summary_ends")

    ctx.add_shutdown_callback(summary)
    session = AgentSession()
    await session.start(agent=FrontDesk(order, prompt), room=ctx.room)
    await ctx.connect()
    ctx.avatar = await bring_avatar(ctx)
    note(order, "avatar")
    if order.get("record"):
        await record(ctx, order)
    await tool(order)
    if order.get("last") == "raise":
        raise RuntimeError("the entrypoint raises")
    if order.get("last") == "crash" and is_first(order):
        os._exit(3)
    if order.get("last") == "delete_room":
        await ctx.api.room.delete_room(api.DeleteRoomRequest(room=ctx.room.name))
    note(order, "returned")


def main() -> None:
    name = os.environ.get("OBSERVER_NAME", "")
    if not hasattr(agents, "AgentServer"):
        options = agents.WorkerOptions(
            entrypoint_fnc=entrypoint, request_fnc=on_request, agent_name=name, port=0, **SETTINGS
        )
        return cli.run_app(options)
    server = agents.AgentServer(port=0, **SETTINGS)
    server.rtc_session(entrypoint, agent_name=name, on_request=on_request)
    return cli.run_app(server)


if __name__ == "__main__":
    main()
