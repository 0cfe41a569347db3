"""
Every registration of an agent goes to curfew, also where the agent's own code has LiveKit's address and keys.
Because: a registration at LiveKit itself would take calls past curfew. A registration is a WebSocket to /agent whose token
has the grant `agent`. No other token has this grant and names no room.
"""

import functools

from . import attempt, own


def adapt(client):
    """`client`: the module aiohttp.client."""
    session = client.ClientSession
    ws_connect = session.ws_connect

    @functools.wraps(ws_connect)
    def connect_or_register(self, *args, **kwargs):
        url = args[0] if args else kwargs.pop("url", None)
        if url is None:
            return ws_connect(self, **kwargs)
        # None: the headers cannot be read. Such a connection to /agent could be a registration.
        if own.KEY and attempt("registration", lambda: _is_registration(url, kwargs.get("headers"))) is not False:
            kwargs.update(headers=_headers(), params=None, proxy=None)
            url = own.URL + "/agent"
        return ws_connect(self, url, *args[1:], **kwargs)

    connect_or_register.goes_to_curfew = True
    session.ws_connect = connect_or_register


def _is_registration(url, headers):
    path = str(url).split("?", 1)[0].rstrip("/")
    if not path.endswith("/agent"):
        return False
    given = {str(name).lower(): value for name, value in dict(headers or {}).items()}
    video = own.claims_of(given.get("authorization", "")).get("video")
    return isinstance(video, dict) and video.get("agent") is True and not video.get("room")


def _headers():
    return {
        "Authorization": "Bearer " + own.own_token(),
        "X-Curfew-Access": own.Access.granted,
        "X-Curfew-Job": own.Running.job,
        "X-Curfew-Why": own.Access.why.encode("ascii", "replace").decode().replace("\n", " ")[:300],
    }
