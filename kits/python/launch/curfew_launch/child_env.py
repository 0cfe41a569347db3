"""
Shows LiveKit's real address and keys to the Python code of a process, and to its children only when it is an agent.

Because: a program may import the framework and then run the agent as a child without the launcher, such as with `python -I`.
With the real values in its environment that child would register at LiveKit itself. So children get curfew's own values, and
beside them the real ones under curfew's names. This ends when the process runs the framework's server, or a job of it.
"""

import functools
import os
import subprocess
from collections.abc import Mapping

from . import attempt, coroutine_of, own

#: `full` in the environment of an agent's children: the variables of LiveKit have the real values.
GRANTED = "CURFEW_ACCESS"


class Shown:
    """The real values, while only Python code sees them."""

    real = None


def show(real):
    """Values that the agent's code has set by now, such as from a .env file, stay."""
    data, key, value = os.environ._data, os.environ.encodekey, os.environ.encodevalue
    for name in own.NAMES:
        if own.is_own(name):
            data[key(name)] = value(real[name])
        data.pop(key(own.REAL_PREFIX + name), None)
    is_first = Shown.real is None
    # A forked worker may have newer values than its zygote.
    Shown.real = real
    if is_first:
        _watch_starts()


def hide():
    """The framework that was imported is unknown after all."""
    real, Shown.real = Shown.real, None
    for name in own.NAMES if real is not None else ():
        if os.environ.get(name) == real[name]:
            os.environ[name] = own.OWN[name]


def follow_run(server):
    """From its run on this process is an agent, and its children have its whole environment, as under LiveKit's own runner."""
    run = coroutine_of(server, "run")

    @functools.wraps(run)
    async def run_as_agent(self, *args, **kwargs):
        attempt("access", pass_on)
        return await run(self, *args, **kwargs)

    server.run = run_as_agent


def pass_on():
    real, Shown.real = Shown.real, None
    if real is None:
        return
    for name in own.NAMES:
        if name in os.environ:
            # Also for the C library's environment, which children get.
            os.environ[name] = os.environ[name]
        os.unsetenv(own.REAL_PREFIX + name)
    os.environ[GRANTED] = "full"


def for_child(env):
    """A copy with curfew's values where the given environment has the real ones."""
    real = Shown.real
    if real is None or not isinstance(env, Mapping):
        return env
    given = dict(env)
    for name in own.NAMES:
        for code in (str, os.fsencode):
            if given.get(code(name)) == code(real[name]):
                given[code(name)] = code(own.OWN[name])
        given.setdefault(own.REAL_PREFIX + name, real[name])
    return given


def _watch_starts():
    """Only starts with an environment of their own. The others take the C library's environment, which has curfew's values."""
    for name in ("execve", "posix_spawn", "posix_spawnp"):
        original = getattr(os, name, None)
        if original is not None:
            setattr(os, name, _with_env_at(original, 2))
    subprocess.Popen.__init__ = _with_env_at(subprocess.Popen.__init__, 11)


def _with_env_at(start, place):
    """`place`: of the environment among the arguments. For a method `self` counts."""

    @functools.wraps(start)
    def start_child(*args, **kwargs):
        args = list(args)
        if "env" in kwargs:
            kwargs["env"] = for_child(kwargs["env"])
        elif len(args) > place:
            args[place] = for_child(args[place])
        return start(*args, **kwargs)

    return start_child
