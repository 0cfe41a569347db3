"""Leaves the connection to a kit in the agent's own code, such as `attach(session)`, because a worker has one connection."""

import functools

from . import attempt
from .auto_attach import is_wanted


def adapt(kit):
    """`kit`: the module curfew_kit._kit, in any version."""
    if not is_wanted():
        return
    create = kit.Curfew.__init__

    @functools.wraps(create)
    def create_for_code(self, *args, **kwargs):
        attempt("own_kit", lambda: _job().give_way())
        create(self, *args, **kwargs)
        attempt("own_kit", lambda: _job().use(self))

    kit.Curfew.__init__ = create_for_code


def _job():
    from .job import JOB

    return JOB
