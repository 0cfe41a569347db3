"""
Attaches curfew to each AgentSession when it starts, unless CURFEW_ATTACH says otherwise. The agent's code needs no change.

The attachment only informs: it never raises into the framework, and it takes over no decision of the framework.
"""

import functools
import os

from . import TESTED, coroutine_of, say

NEEDED = ("CURFEW_SOCKET", "CURFEW_WORKER", "CURFEW_TOKEN")


def is_wanted():
    return os.environ.get("CURFEW_ATTACH") == "auto" and all(os.environ.get(name) for name in NEEDED)


def adapt(agent_session):
    """`agent_session`: the module livekit.agents.voice.agent_session."""
    if not is_wanted():
        return
    start = coroutine_of(agent_session.AgentSession, "start")

    @functools.wraps(start)
    async def start_attached(self, *args, **kwargs):
        job = _job()
        opened = job is not None and _quietly(job.opened, self)
        try:
            return await start(self, *args, **kwargs)
        except BaseException:
            if opened:
                _quietly(job.not_started, self)
            raise

    agent_session.AgentSession.start = start_attached


def _job():
    try:
        # Not earlier: the fork server and the main process run no session, so they need no kit.
        from .job import JOB

        return JOB
    except Exception as error:
        say("attach: off: %s: %s (tested with livekit-agents %s)" % (type(error).__name__, error, TESTED))
        return None


def _quietly(work, session):
    """True: it worked. An agent must run, also when a version of the framework is unknown."""
    try:
        work(session)
        return True
    except Exception as error:
        what = "%s: %s" % (type(error).__name__, error)
        say("curfew learns nothing of an AgentSession: %s (tested with livekit-agents %s)" % (what, TESTED))
        return False
