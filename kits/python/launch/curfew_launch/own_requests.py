"""
No request to curfew itself goes through a proxy of the agent's environment or code, because a proxy cannot reach this
host's loopback address. These are the registration and, with `livekit_access: room`, the agent's API calls.
"""

import copy
import functools

from . import attempt, coroutine_of, own


def adapt(client):
    """`client`: the module aiohttp.client."""
    session = client.ClientSession
    request = coroutine_of(session, "_request")

    @functools.wraps(request)
    async def request_past_proxies(self, *args, **kwargs):
        alike = attempt("own_requests", lambda: _without_proxy(self)) if _is_own(args) else None
        if alike is None:
            return await request(self, *args, **kwargs)
        kwargs.update(proxy=None)
        try:
            return await request(alike, *args, **kwargs)
        finally:
            # The connector belongs to the agent's session. Without one the copy counts as closed.
            alike._connector = None

    session._request = request_past_proxies


def _without_proxy(session):
    """Because: the session may serve other requests at the same time, and its proxy counts for these."""
    alike = copy.copy(session)
    alike._default_proxy = None
    alike._trust_env = False
    return alike


def _is_own(args):
    """`args`: the method, then the URL."""
    if not own.KEY or len(args) < 2:
        return False
    return str(args[1]).startswith((own.URL + "/", own.URL.replace("ws", "http", 1) + "/"))
