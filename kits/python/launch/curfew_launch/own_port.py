"""
Lets a server of the agent's own code start in its main process, such as `prometheus_client.start_http_server(9090)`.
Because: each call has a main process of its own, so a fixed port is free for the first one only. The others take any free port.
"""

import errno
import functools
import multiprocessing
import socket

from . import say


def adapt(_worker):
    """`_worker`: the module livekit.agents.worker."""
    bind = socket.socket.bind

    @functools.wraps(bind)
    def bind_beside_others(self, address):
        try:
            return bind(self, address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_of_main(self, address):
                raise
            any_port = (address[0], 0) + tuple(address[2:])
        bind(self, any_port)
        say("port %s is taken, so the agent's own server takes any free port: each call has a main process of its own" % address[1])

    socket.socket.bind = bind_beside_others


def _is_of_main(bound, address):
    """Two jobs with one port clash under LiveKit's own runner, too. Their processes have a parent in `multiprocessing`."""
    is_tcp = bound.family in (socket.AF_INET, socket.AF_INET6) and bound.type == socket.SOCK_STREAM
    return is_tcp and address[1] != 0 and multiprocessing.parent_process() is None
