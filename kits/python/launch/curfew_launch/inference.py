"""Says once in the worker's log that LiveKit Inference refuses keys of curfew. Without this line the agent sees only a 401."""

import functools

from . import has_text, own, say

LINE = (
    "LiveKit Inference refuses the keys of livekit_access: room (401); "
    "set LIVEKIT_INFERENCE_API_KEY and LIVEKIT_INFERENCE_API_SECRET, or livekit_access: full in the profile"
)


def adapt(utils):
    """`utils`: the module livekit.agents.inference._utils."""
    create = getattr(utils, "create_access_token", None)
    if create is None:
        return
    said = []

    @functools.wraps(create)
    def create_and_check(*args, **kwargs):
        if own.KEY and not said and has_text(own.KEY, args, kwargs):
            said.append(True)
            say(LINE)
        return create(*args, **kwargs)

    utils.create_access_token = create_and_check
