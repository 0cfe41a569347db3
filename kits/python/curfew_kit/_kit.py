"""What an agent calls. The socket lives in a thread of its own (see _wire)."""

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
from ._wire import Wire

Callback = Callable[..., Union[None, Awaitable[None]]]

FLUSH_SECONDS = 1.0
ERROR_CHARS = 4000
DETAIL_CHARS = 500
NO_ROOM = (
    "this worker is kept warm and has no room yet, but nothing waits for one: "
    "use serve() instead of connect(), or take `warm` out of its profile"
)


@dataclass
class Job:
    """What this worker was started for."""

    session_id: str
    room: str
    #: 1 for the first worker of the session, one more for each replacement.
    attempt: int = 1
    metadata: Dict[str, Any] = field(default_factory=dict)
    livekit_url: Optional[str] = None
    #: For this room alone. Not shown by repr, so that a printed job keeps it out of the log.
    livekit_token: Optional[str] = field(default=None, repr=False)


class Curfew:
    """The line to the supervisor. Outside of curfew every call does nothing."""

    def __init__(self, *, exit_on_disconnect: bool, loop: Optional[asyncio.AbstractEventLoop]) -> None:
        self.job = _read_job()
        self._exit_on_disconnect = exit_on_disconnect
        self._loop = loop
        self._callbacks: Dict[str, List[Callback]] = {"aclose": [], "disconnect": [], "configure": [], "notice": [], "assign": []}
        path, worker, token = (os.environ.get(name) for name in ("CURFEW_SOCKET", "CURFEW_WORKER", "CURFEW_TOKEN"))
        self._wire: Optional[Wire] = None
        if path and worker and token:
            self._wire = Wire(path=path, worker=worker, token=token, heard=self._heard, alive=self._alive, loop=lambda: self._loop)
            self._wire.start()

    @property
    def supervised(self) -> bool:
        """Whether curfew started this process."""
        return self._wire is not None

    def ready(self) -> None:
        """The agent is in the room and works."""
        if self.supervised and not self.job.session_id and not self._callbacks["assign"]:
            print(f"curfew kit: {NO_ROOM}", file=sys.stderr, flush=True)
        self._say({"type": "ready"})

    def activity(self, kind: str) -> None:
        """caller_speech, agent_speech or task: postpones the idle timeout."""
        self._say({"type": "activity", "kind": kind})

    def keep_alive(self, for_seconds: float) -> None:
        """Silence is meant, for so long: at most 3599 s."""
        self._say({"type": "activity", "kind": "keep_alive", "forMs": round(for_seconds * 1000)})

    def ok(self) -> None:
        """Something went well: errors in a row begin anew."""
        self._say({"type": "ok"})

    def error(self, error: Union[BaseException, str], source: str = "agent") -> None:
        """Something failed; too many in a row end the session."""
        self._say({"type": "error", "message": _text_of(error), "source": source})

    def failed(self, error: Union[BaseException, str]) -> None:
        """This worker can do its job no longer: another one takes its place while a caller is there."""
        self._say({"type": "failed", "message": _text_of(error)})

    def closed(self, detail: Optional[str] = None) -> None:
        """The job is done, or (after aclose) the session is closed. Returns when it was sent, or after a second."""
        message = {"type": "closed"}
        if detail is not None:
            message["detail"] = detail[:DETAIL_CHARS]
        self._say(message)
        if self._wire is not None:
            self._wire.flush(FLUSH_SECONDS)

    def on_aclose(self, callback: Callback) -> None:
        """callback(reason, bound_ms): finish the talk. `closed` is sent when all callbacks are done."""
        self._callbacks["aclose"].append(callback)

    def on_disconnect(self, callback: Callback) -> None:
        """callback(bound_ms): leave the room. The process exits with 0 when all callbacks are done."""
        self._callbacks["disconnect"].append(callback)

    def on_configure(self, callback: Callback) -> None:
        """callback(metadata): new metadata; acknowledged when all callbacks are done."""
        self._callbacks["configure"].append(callback)

    def on_assign(self, callback: Callback) -> None:
        """callback(job): a worker that was started warm has its room now; `serve` does this for you."""
        self._callbacks["assign"].append(callback)

    def on_notice(self, callback: Callback) -> None:
        """callback(reason, in_ms): something will end the session soon."""
        self._callbacks["notice"].append(callback)

    def _say(self, message: Dict[str, Any]) -> None:
        if self._wire is not None:
            self._wire.say(message)

    def _alive(self, proven: Callable[[], None]) -> None:
        """Asks the main loop to prove that it runs; without a loop the process' life is all that is known."""
        if self._loop is None or self._loop.is_closed():
            proven()
            return
        try:
            self._loop.call_soon_threadsafe(proven)
        except RuntimeError:
            proven()

    def _heard(self, message: Dict[str, Any]) -> None:
        """Runs on the wire's thread; the work is done on the loop, or on a thread of its own."""
        kind = message.get("type")
        if kind == "welcome":
            job = message.get("job") or {}
            self.job.attempt = job.get("attempt", self.job.attempt)
            self.job.metadata = job.get("metadata", self.job.metadata)
        elif kind in ("assign", "configure", "notice", "aclose", "disconnect"):
            self._start(self._handle(str(kind), message))
        # A message that this kit does not know is of a later version, and passed over.

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
            except Exception as error:  # A callback's fault must not keep the answer back.
                self.error(error, kind)


def connect(*, exit_on_disconnect: bool = True, loop: Optional[asyncio.AbstractEventLoop] = None) -> Curfew:
    """Connects to the supervisor that started this process, in the background, and again whenever it was away.

    Called inside a running asyncio loop, that loop is the one whose life the heartbeats prove.
    """
    if loop is None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
    return Curfew(exit_on_disconnect=exit_on_disconnect, loop=loop)


async def serve(run: Callable[["Job", Curfew], Awaitable[None]], *, exit_on_disconnect: bool = True) -> None:
    """For an agent that may be kept warm (`warm: N`): waits for its room where it has none yet, then runs the job once.

    Do the slow things (imports, models) before. When `run` returns the job is done; when it raises, the worker has crashed.
    """
    curfew = connect(exit_on_disconnect=exit_on_disconnect)
    assigned = asyncio.Event()
    curfew.on_assign(lambda _job: assigned.set())
    if curfew.supervised and not curfew.job.session_id:
        curfew.ready()
        await assigned.wait()
    running = asyncio.ensure_future(run(curfew.job, curfew))
    await asyncio.sleep(0)  # One that fails at once never had the call.
    if not (running.done() and running.exception() is not None):
        curfew.ready()
    await running
    await asyncio.to_thread(curfew.closed)
    if curfew.supervised and exit_on_disconnect:
        await asyncio.Event().wait()  # The supervisor says when to go.


#: One for all sessions of this process: of two the newer connection would win over the older, for ever.
_attached: Optional[Curfew] = None


def attach(session: Any) -> Curfew:
    """For a LiveKit agent (`protocol: livekit`), in its job's entrypoint, before `session.start`.

    Speech, tools, errors of STT, LLM and TTS and a blocked event loop are seen from then on.
    Does nothing when the program was not started by curfew.
    """
    global _attached
    if _attached is None:
        # What the job is asked to do, LiveKit's own protocol says.
        _attached = connect(exit_on_disconnect=False)
    if _attached.supervised:
        Reporter(_attached).listen(session)
    return _attached


def _exit() -> None:
    """Ends the process from whatever thread, with nothing left unsaid; `sys.exit` would only end this thread."""
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
    # What went wrong comes first: what is short of room keeps the beginning. Of the stack the innermost calls are kept.
    what = "".join(traceback.format_exception_only(type(error), error)).strip()[: ERROR_CHARS // 2]
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__)).strip()
    return f"{what}\n{stack[-(ERROR_CHARS - len(what) - 1) :]}"
