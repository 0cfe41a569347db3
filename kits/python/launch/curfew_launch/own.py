"""The keys of this worker alone, LiveKit's real ones where the profile grants them, and what became of these."""

import base64
import hashlib
import hmac
import json
import os
import time

URL = os.environ.get("CURFEW_LIVEKIT_URL", "")
KEY = os.environ.get("CURFEW_LIVEKIT_API_KEY", "")
SECRET = os.environ.get("CURFEW_LIVEKIT_API_SECRET", "")

#: Longer than a stop: a process can be stopped between the signature and the request, or curfew before it reads the request.
TOKEN_SECONDS = 3600

NAMES = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
OWN = dict(zip(NAMES, (URL, KEY, SECRET)))
REAL_PREFIX = "CURFEW_REAL_"


class Access:
    """`full`: user code sees LiveKit's real address and keys. The registration tells curfew."""

    granted = "room"
    #: Why the worker has less than its profile grants.
    why = ""


class Running:
    """The job of this worker. Only the main process starts it. Empty: none was started."""

    job = ""


def reload():
    """A forked worker has another environment than its zygote, with keys of its own. curfew may have another address by now."""
    global URL, KEY, SECRET
    URL = os.environ.get("CURFEW_LIVEKIT_URL", "")
    KEY, SECRET = os.environ.get("CURFEW_LIVEKIT_API_KEY", ""), os.environ.get("CURFEW_LIVEKIT_API_SECRET", "")
    OWN.update(zip(NAMES, (URL, KEY, SECRET)))


def read_real():
    """LiveKit's real values. None: the profile grants the room alone, or the process of an agent is the parent."""
    real = {name: os.environ.get(REAL_PREFIX + name, "") for name in NAMES}
    return real if all(real.values()) else None


def is_own(name):
    """Whether the variable still has curfew's value, or none."""
    return os.environ.get(name, "") in ("", OWN[name])


def own_token():
    now = int(time.time())
    claims = {"iss": KEY, "nbf": now - TOKEN_SECONDS, "exp": now + TOKEN_SECONDS, "video": {"agent": True}}
    content = ".".join(_encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return "%s.%s" % (content, _encode(hmac.new(SECRET.encode(), content.encode(), hashlib.sha256).digest()))


def claims_of(authorization):
    """The claims of a bearer token, without a check of its signature. {}: it is no such token."""
    try:
        part = str(authorization).split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return claims if isinstance(claims, dict) else {}
    except (IndexError, ValueError):
        return {}


def _encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
