"""The functions and classes for agents. The socket has its own thread (see _wire)."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import threading
import traceback
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Dict, List, Optional, Union

from ._attach import Reporter
from ._wire import Wire, note

Callback = Callable[..., Union[None, Awaitable[None]]]

FLUSH_SECONDS = 1.0
ERROR_CHARS = 4000
DETAIL_CHARS = 500
NO_ROOM = (
    "this warm worker has no room yet, and the program does not wait for one. "
    "Use serve() instead of connect(), or remove `warm` from the profile."
)


@dataclass
class Job:
    """The job of this worker. Of a warm worker it is empty until the assignment."""

    session_id: str
    room: str
    #: 1 for the first worker of the session, plus 1 for each replacement.
    attempt: int = 1
    metadata: Dict[str, Any] = field(default_factory=dict)
    #: None: curfew has no LiveKit, or the worker has no room yet.
    livekit_url: Optional[str] = None
    #: Valid for this room alone. repr does not show it, so that a printed job does not put the token into the log.
    livekit_token: Optional[str] = field(default=None, repr=False)


class Curfew:
    """The connection to the supervisor. If curfew did not start the program, every call does nothing."""

    def __init__(self, *, exit_on_disconnect: bool, loop: Optional[asyncio.AbstractEventLoop], name: str = "python") -> None:
        self.job = _read_job()
        self._exit_on_disconnect = exit_on_disconnect
        self._loop = loop
        self._callbacks: Dict[str, List[Callback]] = {"aclose": [], "disconnect": [], "configure": [], "notice": [], "assign": []}
        path, worker, token = (os.environ.get(name) for name in ("CURFEW_SOCKET", "CURFEW_WORKER", "CURFEW_TOKEN"))
        self._wire: Optional[Wire] = None
        if path and worker and token:
            self._wire = Wire(path=path, worker=worker, token=token, heard=self._heard, alive=self._alive, loop=lambda: self._loop, name=name)
            self._wire.start()

    @property
    def supervised(self) -> bool:
        """True: curfew started this process."""
        return self._wire is not None

    def ready(self) -> None:
        """The agent is in the room and works."""
        if self.supervised and not self.job.session_id and not self._callbacks["assign"]:
            note(NO_ROOM)
        self._say({"type": "ready"})

    def activity(self, kind: str) -> None:
        """Restarts the idle timeout. `kind`: caller_speech, agent_speech or task."""
        self._say({"type": "activity", "kind": kind})

    def keep_alive(self, for_seconds: float) -> None:
        """The agent is silent on purpose for this time: at most 3599 s."""
        self._say({"type": "activity", "kind": "keep_alive", "forMs": round(for_seconds * 1000)})

    def ok(self) -> None:
        """An operation worked. Resets the count of errors in a row."""
        self._say({"type": "ok"})

    def error(self, error: Union[BaseException, str], source: str = "agent") -> None:
        """An operation failed. Too many errors in a row end the session."""
        self._say({"type": "error", "message": _text_of(error), "source": source})

    def failed(self, error: Union[BaseException, str]) -> None:
        """This worker cannot do its job any more. While a caller is there, curfew replaces it."""
        self._say({"type": "failed", "message": _text_of(error)})

    def closed(self, detail: Optional[str] = None) -> None:
        """The job is done, or (after aclose) the session is closed. Returns when the message was sent, or after 1 s."""
        message = {"type": "closed"}
        if detail is not None:
            message["detail"] = detail[:DETAIL_CHARS]
        self._say(message)
        if self._wire is not None:
            self._wire.flush(FLUSH_SECONDS)

    def on_aclose(self, callback: Callback) -> None:
        """callback(reason, bound_ms): finish the conversation. When all callbacks are done, the kit sends `closed`."""
        self._callbacks["aclose"].append(callback)

    def on_disconnect(self, callback: Callback) -> None:
        """callback(bound_ms): leave the room. The process exits with 0 when all callbacks are done."""
        self._callbacks["disconnect"].append(callback)

    def on_configure(self, callback: Callback) -> None:
        """callback(metadata): new metadata. When all callbacks are done, the kit acknowledges it."""
        self._callbacks["configure"].append(callback)

    def on_assign(self, callback: Callback) -> None:
        """callback(job): a warm worker got its room. `serve` handles this for you."""
        self._callbacks["assign"].append(callback)

    def on_notice(self, callback: Callback) -> None:
        """callback(reason, in_ms): the session will end in `in_ms` milliseconds for this reason."""
        self._callbacks["notice"].append(callback)

    def _say(self, message: Dict[str, Any]) -> None:
        if self._wire is not None:
            self._wire.say(message)

    def _alive(self, proven: Callable[[], None]) -> None:
        """Calls `proven` on the main loop. Without a loop it calls `proven` at once, because the process runs."""
        if self._loop is None or self._loop.is_closed():
            proven()
            return
        try:
            self._loop.call_soon_threadsafe(proven)
        except RuntimeError:
            proven()

    def _heard(self, message: Dict[str, Any]) -> None:
        """Runs on the wire's thread. The callbacks run on the loop, or on a new thread."""
        kind = message.get("type")
        if kind == "welcome":
            job = message.get("job") or {}
            self.job.attempt = job.get("attempt", self.job.attempt)
            self.job.metadata = job.get("metadata", self.job.metadata)
        elif kind in ("assign", "configure", "notice", "aclose", "disconnect"):
            self._start(self._handle(str(kind), message))
        # An unknown message belongs to a later version of curfew, so the kit ignores it.

    def _start(self, work: Any) -> None:
        loop = self._loop
        if loop is not None and loop.is_running():
            asyncio.run_coroutine_threadsafe(work, loop)
        else:
            threading.Thread(target=asyncio.run, args=(work,), daemon=True, name="curfew-callbacks").start()

    async def _handle(self, kind: str, message: Dict[str, Any]) -> None:
        if kind == "assign":
            job = message["job"]
            self.job.session_id, self.job.room = job["session"], job["room"]
            self.job.attempt, self.job.metadata = job["attempt"], job["metadata"]
            self.job.livekit_url, self.job.livekit_token = message["url"] or None, message["token"] or None
            await self._call(kind, self.job)
        elif kind == "configure":
            self.job.metadata = message["metadata"]
            await self._call(kind, message["metadata"])
            self._say({"type": "configured", "rev": message["rev"]})
        elif kind == "notice":
            await self._call(kind, message["reason"], message["inMs"])
        elif kind == "aclose":
            await self._call(kind, message["reason"], message["boundMs"])
            self._say({"type": "closed"})
        else:
            await self._call(kind, message["boundMs"])
            if self._exit_on_disconnect:
                _exit()

    async def _call(self, kind: str, *arguments: Any) -> None:
        for callback in self._callbacks[kind]:
            try:
                result = callback(*arguments)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:  # The kit must answer even if a callback fails.
                self.error(error, kind)


def connect(*, exit_on_disconnect: bool = True, loop: Optional[asyncio.AbstractEventLoop] = None) -> Curfew:
    """Connects to the supervisor that started this process, in the background. Reconnects after a restart of it.

    `loop`: the loop that the heartbeats prove. Default: the running loop, if there is one.
    """
    if loop is None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
    return Curfew(exit_on_disconnect=exit_on_disconnect, loop=loop)


async def serve(run: Callable[["Job", Curfew], Awaitable[None]], *, exit_on_disconnect: bool = True) -> None:
    """For an agent that may be warm (`warm: N`): waits for its room if it has none yet, then runs the job once.

    Load imports and models before the call. When `run` returns, the job is done. When it raises, the worker has crashed.
    """
    curfew = connect(exit_on_disconnect=exit_on_disconnect)
    assigned = asyncio.Event()
    curfew.on_assign(lambda _job: assigned.set())
    if curfew.supervised and not curfew.job.session_id:
        curfew.ready()
        await assigned.wait()
    running = asyncio.ensure_future(run(curfew.job, curfew))
    await asyncio.sleep(0)  # A job that raises at once must not count as ready.
    if not (running.done() and running.exception() is not None):
        curfew.ready()
    await running
    await asyncio.to_thread(curfew.closed)
    if curfew.supervised and exit_on_disconnect:
        await asyncio.Event().wait()  # The supervisor's `disconnect` ends the process.


#: One for all sessions of this process. Two connections of one worker would replace each other for ever.
_attached: Optional[Curfew] = None


def attach(session: Any) -> Curfew:
    """For a LiveKit agent (`protocol: livekit`): call it in the job's entrypoint, before `session.start`.

    Reports speech, tools, errors of STT, LLM and TTS, and a blocked event loop to curfew.
    Does nothing if curfew did not start the program.
    """
    global _attached
    if _attached is None:
        # LiveKit's protocol asks the job to end, so `disconnect` must not end the process.
        _attached = connect(exit_on_disconnect=False)
    if _attached.supervised:
        Reporter(_attached).listen(session)
    return _attached


def _exit() -> None:
    """Flushes the output and ends the process from any thread. `sys.exit` would only end this thread."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(0)


def _read_job() -> Job:
    env = os.environ
    try:
        metadata = json.loads(env.get("CURFEW_METADATA", "{}"))
    except ValueError:
        metadata = {}
    return Job(
        session_id=env.get("CURFEW_SESSION_ID", ""),
        room=env.get("CURFEW_ROOM", ""),
        attempt=int(env.get("CURFEW_ATTEMPT", "1")),
        metadata=metadata,
        livekit_url=env.get("LIVEKIT_URL"),
        livekit_token=env.get("LIVEKIT_TOKEN"),
    )


def _text_of(error: Union[BaseException, str]) -> str:
    if not isinstance(error, BaseException):
        return str(error).strip()[:ERROR_CHARS]
    # The message comes first, because curfew cuts the end of a long text. The stack keeps its innermost calls.
    message = "".join(traceback.format_exception_only(type(error), error)).strip()[: ERROR_CHARS // 2]
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__)).strip()
    return f"{message}\n{stack[-(ERROR_CHARS - len(message) - 1) :]}"
