"""Adds to a failed job how its process ended: by which code or signal. The framework reports only that the job failed."""

import contextvars
import functools
import signal

from . import attempt, coroutine_of


def adapt(worker):
    """`worker`: the module livekit.agents.worker."""
    server = getattr(worker, "AgentServer", None) or worker.Worker
    update_status, queue = coroutine_of(server, "_update_job_status"), coroutine_of(server, "_queue_msg")
    ended = contextvars.ContextVar("curfew_job_exit", default="")

    @functools.wraps(update_status)
    async def update_with_exit(self, proc, *args, **kwargs):
        ended.set(attempt("job_exit", lambda: _text(proc)) or "")
        return await update_status(self, proc, *args, **kwargs)

    @functools.wraps(queue)
    async def queue_with_exit(self, message, *args, **kwargs):
        attempt("job_exit", lambda: _note(message, ended.get()))
        return await queue(self, message, *args, **kwargs)

    server._update_job_status, server._queue_msg = update_with_exit, queue_with_exit


def _text(process):
    """Empty: it runs, it exited with 0, or the job runs in a thread."""
    code = getattr(process, "exitcode", None)
    if not code:
        return ""
    if code > 0:
        return "job process ended: %d" % code
    sender = " by the framework" if getattr(process, "_kill_sent", False) else ""
    return "job process ended: %s%s" % (_name(-code), sender)


def _name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return "SIG%d" % number


def _note(message, text):
    if text and message.HasField("update_job") and not message.update_job.error:
        message.update_job.error = text
