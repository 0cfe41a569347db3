"""Counts running tools, because most versions of the framework report a tool only at its end. A running tool counts as activity."""

import functools

from . import attempt, coroutine_of
from .auto_attach import is_wanted


def adapt(generation):
    """`generation`: the module livekit.agents.voice.generation."""
    if not is_wanted():
        return
    execute = coroutine_of(generation, "_execute_tools_task")

    @functools.wraps(execute)
    async def execute_counted(*args, **kwargs):
        attempt("tool_runs", lambda: _count(1))
        try:
            return await execute(*args, **kwargs)
        finally:
            attempt("tool_runs", lambda: _count(-1))

    generation._execute_tools_task = execute_counted


def _count(change):
    from .job import JOB

    JOB.tools_running(change)
