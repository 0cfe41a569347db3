"""Reports the events of a LiveKit AgentSession to curfew: speech, tools, and errors of STT, LLM and TTS.

The kit does not import the framework. It subscribes to events by name, as in livekit-agents 1.8.9.
A version without such an event never sends it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Set

from ._wire import note

if TYPE_CHECKING:
    from ._kit import Curfew

#: At most one report of each kind in this time. While a person or the agent speaks, the report repeats.
EVERY_SECONDS = 1.0
SOURCES = {"stt_error": "stt", "llm_error": "llm", "realtime_model_error": "llm", "tts_error": "tts"}


class Reporter:
    """Subscribes to the events of one session."""

    def __init__(self, curfew: "Curfew", *, informs: bool = False) -> None:
        """`informs`: curfew's launcher listens, and not the agent's code. Then errors that the framework retries do not count."""
        self._curfew = curfew
        self._informs = informs
        self._last: Dict[str, float] = {}
        self._failing: Set[str] = set()
        self._caller = _WhileSpeaking(lambda: self._active("caller_speech"))
        self._agent = _WhileSpeaking(lambda: self._active("agent_speech"))

    def listen(self, session: Any) -> None:
        events: Dict[str, Callable[[Any], None]] = {
            "user_state_changed": lambda event: self._caller.changed(event.old_state, event.new_state),
            "user_input_transcribed": self._transcribed,
            "agent_state_changed": self._agent_changed,
            "conversation_item_added": self._item_added,
            "tool_execution_updated": lambda event: self._active("task"),
            "function_tools_executed": self._tools_executed,
            "error": lambda event: self._failed(event.error),
            "close": self._closed,
        }
        for name, listener in events.items():
            session.on(name, _guarded(listener))

    def _transcribed(self, event: Any) -> None:
        if event.transcript:
            self._active("caller_speech")
            self._worked("stt")

    def _agent_changed(self, event: Any) -> None:
        self._agent.changed(event.old_state, event.new_state)
        if event.new_state == "speaking":
            self._worked("llm", "tts")

    def _item_added(self, event: Any) -> None:
        role = getattr(event.item, "role", None)
        if role == "assistant":
            self._worked("llm")
        elif role == "user":
            # The caller spoke, or wrote: a text has no audio.
            self._active("caller_speech")

    def _tools_executed(self, event: Any) -> None:
        self._active("task")
        self._worked("llm")

    def _closed(self, event: Any) -> None:
        self._caller.changed("", "closed")
        self._agent.changed("", "closed")
        if reason_of(event) == "error" and not self._informs:
            # The launcher reports it with all AgentSessions of the job. Without this the job would stay in its room and not answer the caller.
            self._curfew.failed(getattr(event.error, "error", None) or "an error closed the session")

    def _active(self, kind: str) -> None:
        if self._is_due(kind):
            self._curfew.activity(kind)

    def _failed(self, failure: Any) -> None:
        source = SOURCES.get(getattr(failure, "type", ""))
        if source is not None and not (self._informs and getattr(failure, "recoverable", False)):
            self._failing.add(source)
            self._curfew.error(getattr(failure, "error", None) or failure.type, source)

    def _worked(self, *sources: str) -> None:
        """Reports a success only while no component fails. Otherwise a working STT would hide a broken TTS."""
        recovered = not self._failing.isdisjoint(sources)
        self._failing.difference_update(sources)
        if not self._failing and (recovered or self._is_due("ok")):
            self._curfew.ok()

    def _is_due(self, kind: str) -> bool:
        now = time.monotonic()
        if now - self._last.get(kind, float("-inf")) < EVERY_SECONDS:
            return False
        self._last[kind] = now
        return True


class _WhileSpeaking:
    """Repeats the report during a long sentence, so that all of it counts as activity."""

    def __init__(self, say: Callable[[], None]) -> None:
        self._say = say
        self._timer: Optional[asyncio.TimerHandle] = None

    def changed(self, before: str, now: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if before == "speaking" or now == "speaking":
            self._say()
        if now == "speaking":
            self._arm(asyncio.get_running_loop())

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(EVERY_SECONDS, self._again, loop)

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._say()
        self._arm(loop)


def reason_of(close: Any) -> str:
    """The framework's word for the end of a session. livekit-agents 1.0 has none, and names only an error."""
    reason = getattr(close, "reason", None)
    if reason is None:
        return "error" if getattr(close, "error", None) is not None else "unknown"
    return str(getattr(reason, "value", reason))


def _guarded(listener: Callable[[Any], None]) -> Callable[[Any], None]:
    """Catches errors of a listener, because an event of another version must not end the conversation."""

    def heard(event: Any) -> None:
        try:
            listener(event)
        except Exception as error:
            note(f"an event of the session could not be read: {error!r}")

    return heard
