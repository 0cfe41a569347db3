"""The parts of the launcher. Each part is a module with `adapt(module)`, which changes one module of the framework."""

import sys
from importlib import import_module

TESTED = "1.8.9"


def say(what):
    """Writes one line to the worker's log."""
    sys.stderr.write("curfew: %s\n" % what)


def adapt(part, module):
    """Never raises: an agent must start, also when a version of the framework is unknown."""
    try:
        import_module("%s.%s" % (__name__, part)).adapt(module)
    except Exception as error:
        say("livekit-agents stays unchanged: %s: %s: %s (tested with %s)" % (part, type(error).__name__, error, TESTED))
