"""
Lets several calls of an agent with `prometheus_port` run on one host: each metrics server takes any free port.
With the agent's own port the second call's server would find the port taken, and its main process would end.
"""

import functools
import inspect

from . import attempt, say


def adapt(http_server):
    """`http_server`: the module livekit.agents.telemetry.http_server."""
    server = http_server.HttpServer
    init = server.__init__
    signature = inspect.signature(init)
    if "port" not in signature.parameters:
        raise LookupError("HttpServer has no port")

    @functools.wraps(init)
    def init_beside_others(*args, **kwargs):
        bound = attempt("metrics_port", lambda: _with_any_port(signature.bind(*args, **kwargs)))
        if bound is None:
            init(*args, **kwargs)
        else:
            init(*bound.args, **bound.kwargs)

    server.__init__ = init_beside_others


def _with_any_port(bound):
    port = bound.arguments.get("port")
    if port:
        say("the metrics server takes any free port in place of prometheus_port %s: each call has a server" % port)
    bound.arguments["port"] = 0
    return bound
