"""Leaves the connection to a kit in the agent's own code, such as `attach(session)`, because a worker has one connection."""

import functools

from .auto_attach import is_wanted


def adapt(kit):
    """`kit`: the module curfew_kit._kit, in any version."""
    if not is_wanted():
        return
    create = kit.Curfew.__init__

    @functools.wraps(create)
    def create_for_code(self, *args, **kwargs):
        from .job import JOB

        JOB.give_way()
        create(self, *args, **kwargs)
        JOB.use(self)

    kit.Curfew.__init__ = create_for_code
