"""The Python kit: the connection of a voice agent to its curfew supervisor. No dependencies."""

from ._kit import Curfew, Job, attach, connect, serve

__all__ = ["Curfew", "Job", "attach", "connect", "serve"]
