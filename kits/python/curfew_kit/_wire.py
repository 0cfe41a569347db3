"""The kit's thread: owns the socket, reconnects for ever, and can write all stacks while the main loop is blocked."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterable, Optional

VERSION = 1
FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 2.0
QUEUE_LENGTH = 1000
#: Refusals that would repeat, so the kit does not reconnect.
FINAL = ("wrong_token", "wrong_version", "other_instance")


def note(what: str) -> None:
    """
    Writes a text to the worker's log. Because: on a full disk `sys.stderr` would raise into the agent's code, or end a thread of
    the kit, and raise again at the exit.
    """
    try:
        os.write(2, f"curfew kit: {what}\n".encode(errors="replace"))
    except OSError:
        pass


class Wire(threading.Thread):
    """Holds one connection at a time. Messages wait in a queue until the connection can send them."""

    def __init__(
        self,
        *,
        path: str,
        worker: str,
        token: str,
        heard: Callable[[Dict[str, Any]], None],
        alive: Callable[[Callable[[], None]], None],
        loop: Callable[[], Optional[asyncio.AbstractEventLoop]],
        name: str = "python",
    ) -> None:
        # A daemon thread, because the kit alone must never keep a process alive.
        super().__init__(daemon=True, name="curfew-wire")
        self._path, self._worker, self._token = path, worker, token
        self._heard, self._alive, self._loop = heard, alive, loop
        self._name = name
        #: What this connection's supervisor takes beyond the messages of 0.1.0.
        self._accepts: Iterable[str] = ()
        #: Messages that each connection repeats first, by type.
        self._states: Dict[str, Dict[str, Any]] = {}
        self._retired = False
        #: How many tools run. They count as activity although the loop may be blocked.
        self.tools = 0
        self._changed = threading.Condition()
        self._socket: Optional[socket.socket] = None
        self._welcomed = False
        self._ready_said = False
        self._refused_for_good = False
        self._connection = 0
        self._queue: Deque[Dict[str, Any]] = deque()

    def start(self) -> None:
        super().start()
        # Another thread writes, because a suspended supervisor must not block the agent's loop.
        threading.Thread(target=self._send, daemon=True, name="curfew-send").start()

    def say(self, message: Dict[str, Any]) -> None:
        """Queues a message. A full queue drops its oldest activity first."""
        with self._changed:
            if message["type"] == "ready":
                self._ready_said = True
                if not self._welcomed:
                    return
            if len(self._queue) >= QUEUE_LENGTH:
                oldest = next((one for one in self._queue if one["type"] == "activity"), self._queue[0])
                self._queue.remove(oldest)
            self._queue.append(message)
            self._changed.notify_all()

    def state(self, message: Dict[str, Any], *, repeats: bool = True) -> None:
        """Sends a later type of message, if the supervisor takes it. `repeats`: again after each reconnect."""
        with self._changed:
            if repeats:
                self._states[message["type"]] = message
            if self._welcomed and message["type"] in self._accepts:
                self._queue.append(message)
                self._changed.notify_all()

    def retire(self) -> None:
        """Closes the connection and opens no other, because another client of this process takes its place."""
        with self._changed:
            self._retired = True
            self._queue.clear()
            connection = self._socket
        if connection is not None:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def flush(self, seconds: float) -> None:
        """Waits until the queue is empty. Then the kernel has all messages. `seconds`: the bound."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queue, timeout=seconds)

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._welcomed and len(self._queue) > 0)
                message, connection = self._queue[0], self._connection
            if not self._write(message):
                # The reading thread sees the end of the connection and reconnects. The message stays first in the queue.
                time.sleep(FIRST_WAIT_SECONDS)
                continue
            with self._changed:
                if self._queue and self._queue[0] is message and self._connection == connection:
                    self._queue.popleft()
                self._changed.notify_all()

    def run(self) -> None:
        wait = FIRST_WAIT_SECONDS
        while not (self._refused_for_good or self._retired):
            try:
                if self._serve():
                    wait = FIRST_WAIT_SECONDS
            # RuntimeError: at a limit of processes no thread starts for a while.
            except (OSError, RuntimeError):
                pass
            time.sleep(wait)
            wait = min(LONGEST_WAIT_SECONDS, wait * 2)

    def _serve(self) -> bool:
        """Runs one connection from hello to its end. True: the supervisor sent a welcome."""
        welcomed = False
        # Python's sockets are close-on-exec, so a grandchild does not keep them open.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(self._path)
            with self._changed:
                self._socket = connection
                if self._retired:
                    return False
            self._write({"type": "hello", "v": VERSION, "worker": self._worker, "token": self._token, "kit": {"name": self._name, "version": "0.1.0"}})
            try:
                with connection.makefile("r", encoding="utf-8", newline="\n") as lines:
                    for line in lines:
                        welcomed = self._hear(line) or welcomed
            finally:
                with self._changed:
                    self._socket, self._welcomed = None, False
                    self._connection += 1
        return welcomed

    def _hear(self, line: str) -> bool:
        try:
            message = json.loads(line)
        except ValueError:
            return False
        kind = message.get("type")
        if kind == "dump":
            self._dump()
        elif kind == "error":
            self._refused(message)
        else:
            if kind == "welcome":
                self._welcome(message)
            self._heard(message)
        return kind == "welcome"

    def _welcome(self, message: Dict[str, Any]) -> None:
        with self._changed:
            self._welcomed = True
            self._accepts = message.get("accepts") or ()
            # An older state after the latest one would be wrong.
            self._queue = deque(one for one in self._queue if one["type"] not in self._states)
            for state in self._states.values():
                if state["type"] in self._accepts:
                    self._queue.appendleft(state)
            if self._ready_said:
                self._queue.appendleft({"type": "ready"})
            self._changed.notify_all()
        beat = threading.Thread(target=self._beat, args=(message["heartbeatMs"] / 1000, self._connection), daemon=True, name="curfew-beat")
        beat.start()

    def _beat(self, every: float, connection: int) -> None:
        while self._connection == connection:
            time.sleep(every)
            if self.tools > 0 and self._connection == connection:
                self.say({"type": "activity", "kind": "task"})
            self._alive(lambda: self._proven(connection))

    def _proven(self, connection: int) -> None:
        if self._connection == connection:
            self.say({"type": "heartbeat"})

    def _write(self, message: Dict[str, Any]) -> bool:
        connection = self._socket
        if connection is None:
            return False
        try:
            connection.sendall((json.dumps(message) + "\n").encode())
            return True
        except OSError:
            return False

    def _refused(self, message: Dict[str, Any]) -> None:
        note(f"the supervisor refused: {message.get('message')}")
        self._refused_for_good = message.get("code") in FINAL

    def _dump(self) -> None:
        """Writes the stacks of all threads and tasks. It runs on this thread, so it works while the loop is blocked."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        parts = []
        for ident, frame in sys._current_frames().items():
            parts.append(f"thread {names.get(ident, ident)}\n" + "".join(traceback.format_stack(frame)))
        loop = self._loop()
        for task in _tasks_of(loop):
            frames = [traceback.format_stack(frame)[-1] for frame in task.get_stack()]
            parts.append(f"task {task.get_name()}\n" + "".join(frames))
        note("stacks\n" + "\n".join(parts))
        self.say({"type": "dumped"})


def _tasks_of(loop: Optional[asyncio.AbstractEventLoop]) -> Iterable["asyncio.Task[Any]"]:
    try:
        return asyncio.all_tasks(loop) if loop is not None else ()
    except RuntimeError:  # Race: the loop changed its tasks during the call.
        return ()
