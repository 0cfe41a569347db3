"""The variables of a forked worker: those of its order, with the changes that the agent's import made in the zygote."""

import os

from . import child_env, own


def carried_over(given):
    """`given`: the variables of the order, by name. curfew's own variables stay as they are given."""
    before, now = at_exec(), dict(os.environ)
    variables = dict(given)
    for name, value in now.items():
        if before.get(name) != value and not _is_curfews(name, value):
            variables[name] = value
    for name in before:
        if name not in now and not name.startswith("CURFEW_"):
            variables.pop(name, None)
    return variables


def _is_curfews(name, value):
    real = child_env.Shown.real
    return name.startswith("CURFEW_") or (real is not None and real.get(name) == value) or own.OWN.get(name) == value


def at_exec():
    """The variables with which the zygote was started."""
    with open("/proc/self/environ", "rb") as file:
        entries = (entry.partition(b"=") for entry in file.read().split(b"\0") if entry)
        return {os.fsdecode(name): os.fsdecode(value) for name, _, value in entries}
