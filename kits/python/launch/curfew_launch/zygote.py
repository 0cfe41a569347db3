"""
Makes this process a zygote. It runs the agent's file up to the start of the framework's worker. Then it forks a worker for each
order of the supervisor. It holds no session and no secret of a session.

The order comes over the control socket. It names the worker's folder and its environment.
"""

import functools
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time

from . import attempt, child_env, coroutine_of, fork_check, forked, main_thread, one_process, own, say
from .warm_up import warm_up

VERSION = 1
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.05, 2.0
#: A supervisor that does not know this zygote starts another one.
UNKNOWN_SECONDS = 60.0
KIT = {"name": "python-zygote", "version": "0.1.0"}
FINAL = ("wrong_token", "wrong_version", "other_instance")


def is_wanted():
    return os.environ.get("CURFEW_ZYGOTE") == "1"


def adapt(module):
    """`module`: livekit.agents.cli.cli, before 1.3 livekit.agents.cli._run, and livekit.agents.worker."""
    if not is_wanted():
        return
    try:
        if module.__name__.endswith(".worker"):
            _refuse_other_runners(getattr(module, "AgentServer", None) or module.Worker)
        else:
            _fork_at(module)
    except (AttributeError, LookupError) as error:
        # Without its fork point this process would be a worker that nobody asked for.
        raise SystemExit("curfew: this version of livekit-agents cannot be forked: %s" % error)


def _refuse_other_runners(server):
    """Only the framework's command line is a fork point. A program may run the server in another way."""
    run = coroutine_of(server, "run")

    @functools.wraps(run)
    async def run_or_refuse(self, *args, **kwargs):
        if is_wanted():
            Connection().run("the program does not start its worker by the framework's command line", None)
        return await run(self, *args, **kwargs)

    server.run = run_or_refuse


def _fork_at(cli):
    name = "_run_worker" if hasattr(cli, "_run_worker") else "run_worker"
    run = getattr(cli, name)

    @functools.wraps(run)
    def run_forked(*args, **kwargs):
        serve(lambda: attempt("one_process", lambda: one_process.prepare(*args, **kwargs)))
        change = attempt("main_thread", lambda: main_thread.changer(cli)) if one_process.State.is_used else None
        return run(*args, **kwargs) if change is None else change(run, args, kwargs)

    setattr(cli, name, run_forked)


def serve(prepare):
    """Returns in each worker, and never in the zygote. `prepare`: called in the worker before it goes on."""
    connection = Connection()
    warm_up()
    reason = fork_check.why_not()
    connection.run(reason, prepare)


class Connection:
    """To the supervisor. It reconnects for ever, because a supervisor that starts again takes its zygotes back."""

    def __init__(self):
        self._path = os.environ["CURFEW_SOCKET"]
        self._worker = os.environ["CURFEW_WORKER"]
        self._token = os.environ["CURFEW_TOKEN"]
        self._socket = None
        self._unknown_since = None

    def run(self, reason, prepare):
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                for message in self._messages(reason):
                    if message.get("type") == "welcome":
                        wait = FIRST_WAIT_SECONDS
                    if message.get("type") == "fork" and self._fork(message):
                        return prepare_worker(prepare)
                    if message.get("type") == "error":
                        self._refused(message)
            except OSError:
                pass
            time.sleep(wait)
            wait = min(LONGEST_WAIT_SECONDS, wait * 2)

    def _messages(self, reason):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(self._path)
            self._say({"type": "hello", "v": VERSION, "worker": self._worker, "token": self._token, "kit": KIT})
            for line in self._lines():
                message = json.loads(line)
                if message.get("type") == "welcome":
                    self._unknown_since = None
                    self._say({"type": "failed", "message": reason} if reason else {"type": "ready"})
                yield message
        finally:
            self.close()

    def _lines(self):
        """Without a file object, which would keep the connection open in each worker."""
        unread = b""
        while self._socket is not None:
            data = self._socket.recv(65536)
            if not data:
                return
            *lines, unread = (unread + data).split(b"\n")
            yield from lines

    def _fork(self, order):
        """True: this is the worker."""
        try:
            return forked.birth(order, self.close)
        except OSError as error:
            say("the kernel refused a fork: %s" % error)
            return False

    def close(self):
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def _refused(self, message):
        say("the supervisor refused this zygote: %s" % message.get("message"))
        now = time.monotonic()
        self._unknown_since = self._unknown_since or now
        if message.get("code") in FINAL or now - self._unknown_since > UNKNOWN_SECONDS:
            sys.exit(0)

    def _say(self, message):
        self._socket.sendall((json.dumps(message) + "\n").encode())


def prepare_worker(prepare):
    own.reload()
    if child_env.Shown.real is not None:
        child_env.show(own.read_real() or child_env.Shown.real)
    _share_nothing()
    prepare()


def _share_nothing():
    """Python itself renews the rest after a fork."""
    tempfile.tempdir = None
    multiprocessing.current_process().authkey = os.urandom(32)
    # `numpy.random` is imported at its first use. An import in the worker costs it 3 MB, and seeds anyway.
    random = sys.modules.get("numpy.random")
    if random is not None:
        attempt("zygote", random.seed)
