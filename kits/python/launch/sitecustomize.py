"""
Adapts a LiveKit agent to curfew. curfew puts this folder on PYTHONPATH of workers with `protocol: livekit`.

Each Python process below the worker loads this file, so it imports only `sys` at first. When the framework imports a module of
HOOKS, the file loads the named parts of `curfew_launch`, and each part adapts the module.
If a version differs from the expected one, the part changes nothing and writes one line to stderr.
"""

import sys

#: For each module of the framework: the parts of curfew_launch that adapt it, in this order.
HOOKS = {
    "aiohttp.client": ("registration", "own_requests"),
    "livekit.agents.inference._utils": ("inference",),
    "livekit.api.twirp_client": ("dialled",),
    "livekit.agents.worker": ("access", "server_settings", "one_process", "zygote", "own_port"),
    "livekit.agents.cli.cli": ("zygote",),
    "livekit.agents.cli._run": ("zygote",),
    "livekit.agents.telemetry.http_server": ("metrics_port",),
    "livekit.agents.ipc.job_proc_executor": ("close_bound",),
    "livekit.agents.ipc.job_proc_lazy_main": ("job_end",),
    "livekit.agents.voice.agent_session": ("auto_attach",),
    "livekit.agents.voice.generation": ("tool_runs",),
    "curfew_kit._kit": ("own_kit",),
}


class _Finder:
    """Wraps the loader of each module in HOOKS, once."""

    waiting = dict(HOOKS)

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        parts = cls.waiting.pop(name, None)
        if parts is None:
            return None
        if not cls.waiting:
            sys.meta_path.remove(cls)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            _wrap(spec.loader, parts)
        return spec


def _wrap(loader, parts):
    exec_module = loader.exec_module

    def exec_and_adapt(module):
        exec_module(module)
        from curfew_launch import adapt

        for part in parts:
            adapt(part, module)

    loader.exec_module = exec_and_adapt


def _chain():
    """Runs the other sitecustomize that this file hides, if there is one."""
    try:
        from _frozen_importlib import module_from_spec
        from _frozen_importlib_external import PathFinder
    except ImportError:
        from importlib.machinery import PathFinder
        from importlib.util import module_from_spec
    here = __file__.rpartition("/")[0]
    spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if path != here])
    if spec is None or spec.loader is None:
        return
    spec.loader.exec_module(module_from_spec(spec))


def _first(env):
    """The variables with this folder at the front of PYTHONPATH. None: they stay as they are."""
    here = __file__.rpartition("/")[0]
    paths = str(env.get("PYTHONPATH", "")).split(":")
    if paths[0] == here or here not in paths:
        return None
    return {**env, "PYTHONPATH": ":".join([here] + [path for path in paths if path != here])}


def _stay_first():
    """
    Keeps this folder at the front of PYTHONPATH for the program that replaces this process, and for children.
    Because: wrappers such as `opentelemetry-instrument` put a folder with a sitecustomize of their own before it. Python runs
    the first one alone, and `_chain` runs that of the wrapper.
    """
    import os

    execv, execve = os.execv, os.execve

    def execv_with_launcher(path, args):
        stay()
        return execv(path, args)

    def execve_with_launcher(path, args, env):
        return execve(path, args, (_first(env) if hasattr(env, "get") else None) or env)

    def stay():
        variables = _first(os.environ)
        if variables is not None:
            os.environ["PYTHONPATH"] = variables["PYTHONPATH"]

    os.execv, os.execve = execv_with_launcher, execve_with_launcher
    return stay


def _give_early():
    """The agent's own program may read LiveKit's address and keys before it imports the framework."""
    import os

    argv = getattr(sys, "orig_argv", None)
    if argv is not None and "CURFEW_REAL_LIVEKIT_URL" in os.environ:
        from curfew_launch import attempt

        def give():
            from curfew_launch import early

            early.give(argv)

        attempt("early", give)


# Another program's sitecustomize may import this file a second time, such as that of `ddtrace-run`.
if not hasattr(sys, "_curfew_launch"):
    sys._curfew_launch = True
    sys.meta_path.insert(0, _Finder)
    _stay = _stay_first()
    _give_early()
    _chain()
    _stay()
