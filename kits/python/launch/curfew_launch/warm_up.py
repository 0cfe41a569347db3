"""
Does in the zygote what every worker would do after its fork. Because: a worker pays for each page that it writes, and for each
module, pattern, schema and context that it makes for itself.

Only work that starts no thread, opens no descriptor and reads nothing of a call. Versions of the framework lack some of it.
"""

import gc
from contextlib import suppress
from importlib import import_module

#: The framework's own warm-up, which it wrote to be safe before a fork. Then the modules that a worker imports late.
MODULES = (
    "livekit.agents.ipc._preload",
    "livekit.agents.llm.async_toolset",
    "livekit.agents.utils.http_context",
    "multiprocessing.forkserver",
    "multiprocessing.resource_tracker",
    "multiprocessing.spawn",
    "curfew_launch.job",
)


def warm_up():
    for name in MODULES:
        with suppress(ImportError):
            import_module(name)
    for work in (_build_models, _read_certificates, _compile_patterns):
        with suppress(Exception):
            work()
    # A collection in a worker would copy the pages of every object of the zygote.
    gc.collect()
    gc.freeze()


def _build_models():
    """
    Pydantic builds a model with a forward reference at its first use. It reads the signature of a default factory then, too.
    For a built-in such as `list` the module `inspect` copies `sys.modules`, and so writes to the page of each module.
    """
    from pydantic import BaseModel

    for model in _below(BaseModel):
        if model.__module__.startswith("livekit.agents.") and not model.__pydantic_complete__:
            model.model_rebuild(raise_errors=False)
        for attribute in model.__private_attributes__.values():
            getattr(attribute, "default_factory_takes_validated_data", None)


def _below(model):
    for one in model.__subclasses__():
        yield one
        yield from _below(one)


def _read_certificates():
    """The framework keeps the context for the whole process."""
    from livekit.agents.utils import http_context

    http_context._create_ssl_context()


def _compile_patterns():
    from livekit.agents.cli.log import JsonFormatter

    JsonFormatter()
