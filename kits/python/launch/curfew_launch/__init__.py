"""The parts of the launcher. Each part is a module with `adapt(module)`, which changes one module of the framework."""

import inspect
import os
from importlib import import_module

TESTED = "1.8.9"


def say(what):
    """
    Writes one line to the worker's log. Because: on a full disk `sys.stderr` would raise into the framework's code, and again
    at the exit, whose code would become 120.
    """
    try:
        os.write(2, ("curfew: %s\n" % what).encode(errors="replace"))
    except OSError:
        pass


def adapt(part, module):
    """Never raises: an agent must start, also when a version of the framework is unknown."""
    attempt(part, lambda: import_module("%s.%s" % (__name__, part)).adapt(module))


def attempt(part, work):
    """Returns what `work` returns. None after an error: the framework differs there, and the log has one line for each part."""
    try:
        return work()
    except Exception as error:
        if part not in _said:
            _said.add(part)
            say("livekit-agents stays unchanged: %s: %s: %s (tested with %s)" % (part, type(error).__name__, error, TESTED))
        return None


_said = set()


def has_text(text, args, kwargs):
    """Whether the text is one of the arguments, wherever a version of the framework has it."""
    return any(isinstance(one, str) and one == text for one in (*args, *kwargs.values()))


def coroutine_of(owner, name):
    """The function of a class or a module, which a wrapper can await. LookupError: it is of another kind in this version."""
    method = getattr(owner, name)
    if not inspect.iscoroutinefunction(method):
        raise LookupError("%s.%s is no coroutine function" % (owner.__name__, name))
    return method
