"""The job of this process, as the launcher tells curfew of it: AgentSessions, running tools, and a blocked event loop."""

import asyncio
import sys
import weakref
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from . import attempt, say
from .loop_watch import LoopWatch

MESSAGE_CHARS = 4000


def load_kit():
    """
    curfew's own kit under a name of its own. The agent may have a kit of another version on its path, and may import it
    under the usual name.
    """
    name = "%s.own_curfew_kit" % __package__
    if name not in sys.modules:
        folder = Path(__file__).resolve().parents[2] / "curfew_kit"
        spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules["%s._kit" % name], sys.modules["%s._attach" % name]


class Job:
    """One for this process. It connects with the first AgentSession, unless the agent's own code has connected."""

    def __init__(self):
        self._curfew = None
        self._is_own = False
        self._open = set()
        self._known = weakref.WeakSet()
        self._calls = set()
        self._executions = 0

    def opened(self, session):
        self._connect()
        if session not in self._known:
            self._known.add(session)
            if self._is_own:
                _kit, attach = load_kit()
                attach.Reporter(self._curfew, informs=True).listen(session)
            session.on("close", lambda event: self._closed(session, event))
            session.on("tool_execution_updated", self._tool_updated)
        self._open.add(id(session))
        self._tell_sessions(None)

    def not_started(self, session):
        if id(session) in self._open:
            self._open.discard(id(session))
            self._tell_sessions({"reason": "not_started"})

    def give_way(self):
        """The agent's own code uses a kit. Two connections of one worker would replace each other for ever."""
        if self._is_own:
            self._curfew._wire.retire()
        self._curfew, self._is_own = None, False

    def use(self, curfew):
        """From now on the connection of the agent's own code tells curfew of the AgentSessions, too."""
        self._curfew = curfew
        if self._known:
            self._tell_sessions(None)

    def tools_running(self, change):
        """The framework began (1) or ended (-1) to execute the tools of one answer."""
        self._executions += change
        self._tell_tools()

    def _connect(self):
        if self._curfew is not None:
            return
        kit, _attach = load_kit()
        loop = asyncio.get_running_loop()
        self._curfew = kit.Curfew(exit_on_disconnect=False, loop=loop, name="python-launcher")
        self._is_own = True
        LoopWatch(loop, self._tell_blocked).start()

    def _closed(self, session, event):
        try:
            if id(session) in self._open:
                self._open.discard(id(session))
                self._tell_sessions(_described(event))
        except Exception as error:
            say("the end of an AgentSession could not be read: %r" % error)

    def _tool_updated(self, event):
        attempt("tool_runs", lambda: self._count_call(event.update))

    def _count_call(self, update):
        if update.type == "tool_call_started":
            self._calls.add(update.function_call.call_id)
        elif update.type == "tool_call_ended":
            self._calls.discard(update.call_id)
        self._tell_tools()

    def _tell_tools(self):
        wire = getattr(self._curfew, "_wire", None)
        if hasattr(wire, "tools"):
            wire.tools = self._executions + len(self._calls)

    def _tell_sessions(self, closed):
        message = {"type": "agent_session", "open": len(self._open)}
        if closed is not None:
            message["closed"] = closed
            if not self._open:
                left = closed["reason"] == "participant_disconnected"
                follows = "because its caller left" if left else "so the agent answers nobody"
                say("the last AgentSession of the job has closed (%s), %s" % (closed["reason"], follows))
        self._tell(message)

    def _tell_blocked(self, for_seconds):
        self._tell({"type": "loop_blocked", "forMs": round(for_seconds * 1000)}, repeats=False)

    def _tell(self, message, repeats=True):
        """A kit of an older version in the agent's own code cannot send these messages."""
        wire = getattr(self._curfew, "_wire", None)
        if hasattr(wire, "state"):
            wire.state(message, repeats=repeats)


def _described(event):
    _kit, attach = load_kit()
    closed = {"reason": attach.reason_of(event)[:40]}
    failure = getattr(event, "error", None)
    if failure is not None:
        error = getattr(failure, "error", None) or failure
        closed["provider"] = str(getattr(failure, "label", None) or getattr(failure, "type", None) or type(error).__name__)[:200]
        closed["message"] = ("%s: %s" % (type(error).__name__, error))[:MESSAGE_CHARS]
    return closed


JOB = Job()
