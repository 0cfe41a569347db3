"""
Lets a job run to its end after LiveKit's `termination`, because curfew bounds the end of a job (`ladder.aclose`, `wrap_up`).

The framework kills a job's process when its shutdown takes longer than `shutdown_process_timeout`. Its default is 10 s, which
cuts a shutdown callback that writes notes. A value that the agent's code sets stays, unless it is the default. A process that does not acknowledge the
shutdown is killed as before.
"""

import functools
import inspect
import sys

from . import attempt, coroutine_of

#: Longer than every bound that a config of curfew can have. Infinity would be no valid timeout for each event loop.
LONG_SECONDS = 86400.0


def adapt(executor):
    """`executor`: the module livekit.agents.ipc.job_proc_executor."""
    job = executor.ProcJobExecutor
    aclose = coroutine_of(job, "aclose")

    @functools.wraps(aclose)
    async def aclose_to_the_end(self, *args, **kwargs):
        attempt("close_bound", lambda: _lengthen(self))
        return await aclose(self, *args, **kwargs)

    job.aclose = aclose_to_the_end


def _lengthen(process):
    options = process._opts
    if options.close_timeout != _default():
        return
    acknowledged = getattr(process, "_shutdown_ack_fut", None)
    if acknowledged is None:
        options.close_timeout = LONG_SECONDS
    else:
        acknowledged.add_done_callback(lambda _: setattr(options, "close_timeout", LONG_SECONDS))


def _default():
    """The framework's own default of `shutdown_process_timeout`: 60 s up to version 1.2, then 10 s."""
    worker = sys.modules["livekit.agents.worker"]
    for name in ("AgentServer", "WorkerOptions"):
        parameters = inspect.signature(getattr(worker, name, _nothing)).parameters
        if "shutdown_process_timeout" in parameters:
            return parameters["shutdown_process_timeout"].default
    raise LookupError("livekit.agents.worker has no shutdown_process_timeout")


def _nothing():
    pass
