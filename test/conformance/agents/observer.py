"""
Writes down everything that an agent can see, one JSON line for each observation, and ends in the way that its job asks.
The metadata of the job is the script. The file has no code for curfew.
"""

import asyncio
import json
import os
import signal
import time

from google.protobuf.json_format import MessageToDict
from livekit import agents, api, rtc
from livekit.agents import Agent, AgentSession, JobContext, JobExecutorType, cli

if os.environ.get("OBSERVER_LOOP") == "uvloop":
    import uvloop

    uvloop.install()

AGENT_NAME = os.environ.get("OBSERVER_NAME", "observer")
PREWARMED = "prewarmed_ms"


def now_ms():
    return int(time.time() * 1000)


def script_of(job):
    try:
        script = json.loads(job.metadata)
        return script if isinstance(script, dict) else {}
    except ValueError:
        return {}


def note(script, what, **data):
    """One write of one line: several processes write into the file."""
    if "out" not in script:
        return
    line = json.dumps({"at": now_ms(), "what": what, "pid": os.getpid(), **data}, default=str) + "\n"
    with open(script["out"], "a") as out:
        out.write(line)


def fields(message):
    """Every field, those with the default value too."""
    try:
        return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    except TypeError:
        return MessageToDict(message, preserving_proto_field_name=True, including_default_value_fields=True)


def prewarm(proc):
    if os.environ.get("OBSERVER_PREWARM") == "raises":
        raise RuntimeError("the prewarm function raises")
    proc.userdata[PREWARMED] = now_ms()


async def on_request(request):
    script = script_of(request.job)
    ask = script.get("request", {})
    note(script, "request", job=fields(request.job), env=livekit_env(), agent_name=request.agent_name)
    if "sleepMs" in ask:
        await asyncio.sleep(ask["sleepMs"] / 1000)
    if ask.get("do") == "raise":
        raise RuntimeError("the request function raises")
    if ask.get("do") == "reject":
        await (request.reject() if "terminate" not in ask else request.reject(terminate=ask["terminate"]))
    elif ask.get("do") == "accept":
        await request.accept(
            name=ask["name"], identity=ask["identity"], metadata=ask["metadata"], attributes=ask["attributes"]
        )
    else:
        await request.accept()


def livekit_env():
    return {name: value for name, value in os.environ.items() if name.startswith("LIVEKIT_")}


class Observer(Agent):
    def __init__(self, script):
        super().__init__(instructions="Observe.")
        self.script = script

    async def on_enter(self):
        note(self.script, "on_enter")
        if self.script.get("raises") == "on_enter":
            raise RuntimeError("on_enter raises")

    async def on_exit(self):
        note(self.script, "on_exit")
        if self.script.get("raises") == "on_exit":
            raise RuntimeError("on_exit raises")


async def on_session_end(ctx):
    script = script_of(ctx.job)
    note(script, "on_session_end")
    if script.get("raises") == "on_session_end":
        raise RuntimeError("on_session_end raises")


async def entrypoint(ctx: JobContext):
    script = script_of(ctx.job)
    see_job(ctx, script)
    add_callbacks(ctx, script)
    if script.get("raises") == "before_connect":
        raise RuntimeError("the entrypoint raises before it connects")
    session = await enter(ctx, script)
    see_room(ctx, script)
    await probe(ctx, script)
    if script.get("raises") == "after_connect":
        raise RuntimeError("the entrypoint raises after it connected")
    await end(ctx, script, session)
    note(script, "returned")


def see_job(ctx, script):
    info = ctx._info
    note(
        script,
        "entry",
        prewarmed=PREWARMED in ctx.proc.userdata,
        executor=str(ctx.proc.executor_type == JobExecutorType.PROCESS),
        job=fields(ctx.job),
        info={"url": info.url, "worker_id": info.worker_id, "accept": vars(info.accept_arguments)},
        env=dict(os.environ),
        cwd=os.getcwd(),
        loop=type(asyncio.get_running_loop()).__module__,
        sigterm=str(signal.getsignal(signal.SIGTERM)),
        claims=claims_of(info.token),
    )


def claims_of(token):
    import base64

    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    claims["ttl"] = claims.pop("exp", 0) - claims.pop("nbf", claims.get("iat", 0))
    return claims


def add_callbacks(ctx, script):
    async def with_reason(reason):
        note(script, "shutdown_begins", reason=reason)
        if script.get("raises") == "shutdown_callback":
            raise RuntimeError("the shutdown callback raises")
        await asyncio.sleep(script.get("callbackMs", 0) / 1000)
        note(script, "shutdown_ends", room=str(ctx.room.isconnected()))

    async def without_reason():
        note(script, "shutdown_without_reason")

    ctx.add_shutdown_callback(with_reason)
    ctx.add_shutdown_callback(without_reason)


def on_left(script, who):
    note(script, "left", identity=who.identity)
    if script.get("raises") == "event_handler":
        raise RuntimeError("the event handler raises")


async def enter(ctx, script):
    if script.get("enter") == "nothing":
        return None
    if script.get("enter") != "session":
        await ctx.connect()
        ctx.room.on("disconnected", lambda reason: note(script, "disconnected", reason=str(reason)))
        ctx.room.on("participant_disconnected", lambda who: on_left(script, who))
        return None
    session = AgentSession()
    session.on("close", lambda event: note(script, "session_close", reason=str(getattr(event, "reason", ""))))
    await session.start(agent=Observer(script), room=ctx.room)
    await ctx.connect()
    return session


def see_room(ctx, script):
    if not ctx.room.isconnected():
        return
    me = ctx.room.local_participant
    note(
        script,
        "room",
        name=ctx.room.name,
        metadata=ctx.room.metadata,
        me={"identity": me.identity, "name": me.name, "metadata": me.metadata, "attributes": dict(me.attributes)},
        others=sorted(ctx.room.remote_participants),
    )


async def probe(ctx, script):
    for name in script.get("probes", []):
        try:
            result = await PROBES[name](ctx, script)
        except Exception as error:
            result = {"error": type(error).__name__, "code": str(getattr(error, "code", "")), "text": str(error)[:200]}
        note(script, "probe", probe=name, result=result)


async def list_participants(ctx, script):
    listed = await ctx.api.room.list_participants(api.ListParticipantsRequest(room=ctx.room.name))
    return sorted(one.identity for one in listed.participants)


async def list_rooms(ctx, script):
    listed = await ctx.api.room.list_rooms(api.ListRoomsRequest())
    names = [one.name for one in listed.rooms]
    return {"own": ctx.room.name in names, "other": f"{ctx.room.name}-other" in names}


async def update_metadata(ctx, script):
    asked = api.UpdateRoomMetadataRequest(room=ctx.room.name, metadata="by the agent")
    return (await ctx.api.room.update_room_metadata(asked)).metadata


async def egress(ctx, script):
    output = api.EncodedFileOutput(filepath="call.ogg")
    asked = api.RoomCompositeEgressRequest(room_name=ctx.room.name, audio_only=True, file_outputs=[output])
    return (await ctx.api.egress.start_room_composite_egress(asked)).status


async def sip(ctx, script):
    asked = api.CreateSIPParticipantRequest(
        sip_trunk_id="ST_none", sip_call_to="+15550100", room_name=ctx.room.name, participant_identity="phone"
    )
    return (await ctx.api.sip.create_sip_participant(asked)).participant_identity


async def list_dispatches(ctx, script):
    return len(await ctx.api.agent_dispatch.list_dispatch(ctx.room.name))


async def other_room(ctx, script):
    return (await ctx.api.room.create_room(api.CreateRoomRequest(name=ctx.room.name + "-other"))).name != ""


async def avatar(ctx, script):
    """A token for a second participant, signed with the keys of the environment, as avatars do."""
    grants = api.VideoGrants(room_join=True, room=ctx.room.name)
    token = api.AccessToken().with_identity("avatar").with_name("Avatar").with_kind("agent").with_grants(grants)
    token = token.with_attributes({"lk.publish_on_behalf": ctx.room.local_participant.identity})
    room = rtc.Room()
    await room.connect(os.environ["LIVEKIT_URL"], token.to_jwt())
    ctx.avatar = room
    return room.local_participant.identity


PROBES = {
    probe.__name__: probe
    for probe in (list_participants, list_rooms, update_metadata, egress, sip, list_dispatches, other_room, avatar)
}


async def end(ctx, script, session):
    how = script.get("end")
    if how is None:
        return
    await asyncio.sleep(script.get("endAfterMs", 500) / 1000)
    note(script, "ends", how=how)
    if how == "shutdown":
        ctx.shutdown(reason="said by the agent")
    elif how == "delete_room":
        await ctx.delete_room()
    elif how == "api_delete_room":
        await ctx.api.room.delete_room(api.DeleteRoomRequest(room=ctx.room.name))
    elif how == "disconnect":
        await ctx.room.disconnect()
    elif how == "close_session":
        await session.aclose()
    elif how == "exit":
        os._exit(3)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "kill_main":
        os.kill(script["mainPid"] if "mainPid" in script else os.getppid(), signal.SIGKILL)


def no_load(*_server):
    return 0.0


def settings():
    given = json.loads(os.environ.get("OBSERVER_SETTINGS", "{}"))
    # Because: LiveKit gives a worker on a busy host no call.
    return {"initialize_process_timeout": 60.0, "num_idle_processes": 1, "load_fnc": no_load, **given}


def main():
    if not hasattr(agents, "AgentServer"):
        options = agents.WorkerOptions(
            entrypoint_fnc=entrypoint,
            request_fnc=on_request,
            prewarm_fnc=prewarm,
            agent_name=AGENT_NAME,
            port=0,
            **settings(),
        )
        return cli.run_app(options)
    server = agents.AgentServer(port=0, **settings())
    server.setup_fnc = prewarm
    server.rtc_session(entrypoint, agent_name=AGENT_NAME, on_request=on_request, on_session_end=on_session_end)
    return cli.run_app(server)


if __name__ == "__main__":
    main()
