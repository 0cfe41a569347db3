"""Writes one line and the stack when the event loop of the job is blocked. The framework itself notices only after a minute."""

import sys
import threading
import time
import traceback

from . import say

BLOCKED_SECONDS = 5.0
EVERY_SECONDS = 1.0
#: After a suspend of the whole process the loop answers within this.
SECOND_CHANCE_SECONDS = 0.5


class LoopWatch(threading.Thread):
    """Create it on the thread of the loop. `tell(seconds)`: called once for each time that the loop is blocked."""

    def __init__(self, loop, tell):
        super().__init__(daemon=True, name="curfew-loop-watch")
        self._loop, self._tell = loop, tell
        self._loop_thread = threading.get_ident()

    def run(self):
        while not self._loop.is_closed():
            answered = threading.Event()
            began = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:
                return
            if not answered.wait(BLOCKED_SECONDS) and not answered.wait(SECOND_CHANCE_SECONDS):
                self._notice(time.monotonic() - began)
                while not answered.wait(EVERY_SECONDS):
                    if self._loop.is_closed():
                        return
                say("the event loop of this job runs again, after %.0f s" % (time.monotonic() - began))
            time.sleep(EVERY_SECONDS)

    def _notice(self, seconds):
        frame = sys._current_frames().get(self._loop_thread)
        stack = "" if frame is None else "\n" + "".join(traceback.format_stack(frame)).rstrip()
        say("the event loop of this job is blocked for %.0f s. It does this now:%s" % (seconds, stack))
        self._tell(seconds)
