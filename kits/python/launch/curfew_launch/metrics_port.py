"""
Lets several calls of an agent with `prometheus_port` run on one host: each metrics server takes any free port.
With the agent's own port the second call's server would find the port taken, and its main process would end.
"""

from . import say


def adapt(http_server):
    """`http_server`: the module livekit.agents.telemetry.http_server."""
    server = http_server.HttpServer
    init = server.__init__

    def init_beside_others(self, host, port, *args, **kwargs):
        if port:
            say("the metrics server takes any free port in place of prometheus_port %s: each call has a server" % port)
        init(self, host, 0, *args, **kwargs)

    server.__init__ = init_beside_others
