"""
A forked worker runs its job in its one process. Because: a second process per call would cost as much again, and the zygote has
loaded everything already. An agent whose code asks for another executor keeps it.
"""

import functools
import os

from . import attempt

GIVEN = "_curfew_executor_given"


class State:
    """Whether the job of this worker runs in its one process."""

    is_used = False


def adapt(worker):
    """`worker`: the module livekit.agents.worker. Only a zygote needs to know how the agent's server was made."""
    if os.environ.get("CURFEW_ZYGOTE") != "1":
        return
    options, server = getattr(worker, "WorkerOptions", None), getattr(worker, "AgentServer", None)
    for owner in (options, server):
        if owner is not None:
            _note_init(owner)
    if hasattr(server, "from_server_options"):
        _note_conversion(server)


def _note_init(owner):
    init = owner.__init__

    @functools.wraps(init)
    def init_and_note(self, *args, **kwargs):
        init(self, *args, **kwargs)
        attempt("one_process", lambda: setattr(self, GIVEN, kwargs.get("job_executor_type") is not None))

    owner.__init__ = init_and_note


def _note_conversion(server):
    """The framework passes each option on, also those that the agent's code did not give."""
    convert = server.from_server_options

    @functools.wraps(convert)
    def convert_and_note(options, *args, **kwargs):
        made = convert(options, *args, **kwargs)
        attempt("one_process", lambda: setattr(made, GIVEN, getattr(options, GIVEN, True)))
        return made

    server.from_server_options = staticmethod(convert_and_note)


def prepare(server, *_args, **_kwargs):
    """`server`: the AgentServer, or before 1.3 what holds the WorkerOptions."""
    from livekit.agents.job import JobExecutorType

    target, name = (server.opts, "job_executor_type") if hasattr(server, "opts") else (server, "_job_executor_type")
    if not getattr(target, GIVEN, False) and hasattr(target, name):
        setattr(target, name, JobExecutorType.THREAD)
        State.is_used = True
