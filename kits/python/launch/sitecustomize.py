"""
Adapts a LiveKit agent to curfew. curfew puts this folder on PYTHONPATH of workers with `protocol: livekit`.

A worker has one job at most, and curfew decides on admission. So `AgentServer.run` gets other settings:

- Any free port for its health server, so that several agents can run on one host.
- One idle job process, and none after it got its job.
- No load limit for new jobs.
- No limit of connection attempts, because giving up would end the call.

Each Python process below the worker loads this file, so it imports only `sys` until livekit.agents.worker is imported.
If a version differs from the expected one, the file changes nothing and writes one line to stderr.
"""

import sys

TESTED = "1.8.9"
WORKER = "livekit.agents.worker"


def _say(what):
    sys.stderr.write("curfew: livekit-agents stays unchanged: %s (tested with %s)\n" % (what, TESTED))


class _Finder:
    """Wraps the loader of the module WORKER, once."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != WORKER:
            return None
        sys.meta_path.remove(_Finder)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            _wrap(spec.loader)
        return spec


def _wrap(loader):
    exec_module = loader.exec_module

    def exec_and_adapt(module):
        exec_module(module)
        try:
            _adapt(module)
        except Exception as error:
            _say("%s: %s" % (type(error).__name__, error))

    loader.exec_module = exec_and_adapt


def _adapt(worker):
    version = worker.__version__
    if int(version.split(".")[0]) < 1:
        _say("version %s is too old" % version)
        return
    server, pool = worker.AgentServer, worker.ipc.proc_pool.ProcPool
    run, launch_job = server.run, pool.launch_job
    pool.set_target_idle_processes

    async def run_beside_others(self, *args, **kwargs):
        settings = {
            "_port": 0,
            "_num_idle_processes": 1,
            "_load_threshold": float("inf"),
            "_max_retry": float("inf"),
        }
        lacking = [name for name in settings if not hasattr(self, name)]
        if lacking:
            _say("AgentServer of version %s has no %s" % (version, ", ".join(lacking)))
        else:
            self.__dict__.update(settings)
        return await run(self, *args, **kwargs)

    async def launch_last_job(self, *args, **kwargs):
        self.set_target_idle_processes(0)
        return await launch_job(self, *args, **kwargs)

    server.run, pool.launch_job = run_beside_others, launch_last_job


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


sys.meta_path.insert(0, _Finder)
_chain()
