"""
No request to curfew itself goes through a proxy of the agent's environment or code, because a proxy cannot reach this
host's loopback address. These are the registration and, with `livekit_access: room`, the agent's API calls.
"""

import copy
import functools

from . import own


def adapt(client):
    """`client`: the module aiohttp.client."""
    session = client.ClientSession
    request = session._request

    @functools.wraps(request)
    async def request_past_proxies(self, method, url, **kwargs):
        if not _is_own(url):
            return await request(self, method, url, **kwargs)
        kwargs.update(proxy=None)
        # Because: the session may serve other requests at the same time, and its proxy counts for these.
        alike = copy.copy(self)
        alike._default_proxy = None
        alike._trust_env = False
        try:
            return await request(alike, method, url, **kwargs)
        finally:
            # The connector belongs to the agent's session. Without one the copy counts as closed.
            alike._connector = None

    session._request = request_past_proxies


def _is_own(url):
    return bool(own.KEY) and str(url).startswith((own.URL + "/", own.URL.replace("ws", "http", 1) + "/"))
