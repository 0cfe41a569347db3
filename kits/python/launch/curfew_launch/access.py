"""
Gives the agent LiveKit's real address and keys, as LiveKit's own runner does, where the profile has `livekit_access: full`.
It fails closed: without every name of the framework that it needs, the environment keeps curfew's address and keys.
"""

import os
import sys
from inspect import unwrap

from . import TESTED, child_env, own


def adapt(worker):
    """`worker`: the module livekit.agents.worker."""
    try:
        _give(worker)
    except BaseException as error:
        _refuse("the framework cannot be judged: %r (tested with %s)" % (error, TESTED))
        raise


def _give(worker):
    real = own.read_real() or child_env.Shown.real
    if real is None and not _is_inherited():
        return
    lacking = _lacking(worker)
    if lacking:
        version = getattr(worker, "__version__", "of an unknown version")
        return _refuse("livekit-agents %s has no %s (tested with %s)" % (version, lacking, TESTED))
    if real is not None:
        child_env.follow_run(getattr(worker, "AgentServer", None) or worker.Worker)
        child_env.show(real)
    own.Access.granted = "full"


def _is_inherited():
    """The process of an agent is the parent, and gave this process its environment."""
    return own.read_real() is None and os.environ.get(child_env.GRANTED) == "full"


def _refuse(why):
    """The environment has curfew's values from now on, also for the children of this process."""
    if _is_inherited():
        os.environ.update(own.OWN)
        del os.environ[child_env.GRANTED]
    child_env.hide()
    own.Access.granted, own.Access.why = "room", why


def _lacking(worker):
    """The first name that lacks. None: the registration certainly goes to curfew."""
    version = str(getattr(worker, "__version__", ""))
    if not version.split(".")[0].isdigit() or int(version.split(".")[0]) < 1:
        return "version of 1.0 or newer"
    server = getattr(worker, "AgentServer", None) or getattr(worker, "Worker", None)
    task = unwrap(getattr(server, "_connection_task", None) or _nothing)
    if "ws_connect" not in task.__code__.co_names:
        return "AgentServer._connection_task with ws_connect"
    session = getattr(sys.modules.get("aiohttp"), "ClientSession", None)
    if not getattr(getattr(session, "ws_connect", None), "goes_to_curfew", False):
        return "aiohttp.ClientSession.ws_connect"
    return None


def _nothing():
    pass
