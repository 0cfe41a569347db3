"""A LiveKit agent that reports on a socket when its entry function runs. LiveKit's own runner and curfew use this file."""

import asyncio
import os
import socket

from livekit.agents import AgentServer, JobContext, cli

server = AgentServer(port=0)


@server.rtc_session()
async def entrypoint(ctx: JobContext):
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.connect(os.environ["BENCH_SOCKET"])
    line.sendall(f"job {ctx.job.room.name}\n".encode())
    await asyncio.sleep(3600)


if __name__ == "__main__":
    cli.run_app(server)
