"""
Changes the settings of `AgentServer`. A worker has one job at most, and curfew decides on admission. So the server gets:

- Any free port for its health server, so that several agents can run on one host.
- One idle job process, and none after it got its job.
- No load limit for new jobs.
- A folder of its own for its metrics, so that it deletes those of no other call.
- No limit of connection attempts, because giving up would end the call.

A failed job is reported with the exit of its process (`job_exit`).

Before 1.3 the server is `Worker`, which takes its settings from `WorkerOptions` when it is made.
"""

import functools
import os

from . import TESTED, attempt, coroutine_of, job_exit, own, say

SETTINGS = {
    "port": 0,
    "num_idle_processes": 1,
    "load_threshold": float("inf"),
    "max_retry": float("inf"),
}


def adapt(worker):
    """`worker`: the module livekit.agents.worker."""
    version = worker.__version__
    if int(version.split(".")[0]) < 1:
        say("livekit-agents stays unchanged: version %s is too old (tested with %s)" % (version, TESTED))
        return
    pool = worker.ipc.proc_pool.ProcPool
    launch_job = coroutine_of(pool, "launch_job")
    pool.set_target_idle_processes
    if hasattr(worker, "AgentServer"):
        _adapt_server(worker.AgentServer, version)
    else:
        _adapt_worker(worker.Worker, version)

    @functools.wraps(launch_job)
    async def launch_last_job(self, *args, **kwargs):
        attempt("server_settings", lambda: self.set_target_idle_processes(0))
        attempt("server_settings", lambda: _note((args[0] if args else kwargs["info"]).job.id))
        return await launch_job(self, *args, **kwargs)

    pool.launch_job = launch_last_job
    attempt("job_exit", lambda: job_exit.adapt(worker))


def _note(job_id):
    """Because: a curfew that starts again must not give the job to this worker a second time."""
    own.Running.job = str(job_id)


def _adapt_server(server, version):
    run = coroutine_of(server, "run")

    @functools.wraps(run)
    async def run_beside_others(self, *args, **kwargs):
        attempt("server_settings", lambda: _change(self, "_", "AgentServer of version " + version))
        return await run(self, *args, **kwargs)

    server.run = run_beside_others


def _adapt_worker(server, version):
    init = server.__init__

    @functools.wraps(init)
    def init_beside_others(self, *args, **kwargs):
        opts = args[0] if args else kwargs.get("opts")
        attempt("server_settings", lambda: _change(opts, "", "WorkerOptions of version " + version))
        init(self, *args, **kwargs)

    server.__init__ = init_beside_others


def _change(target, prefix, what):
    settings = {prefix + name: value for name, value in SETTINGS.items()}
    lacking = [name for name in settings if not hasattr(target, name)]
    if lacking:
        say("livekit-agents stays unchanged: %s has no %s (tested with %s)" % (what, ", ".join(lacking), TESTED))
    else:
        target.__dict__.update(settings)
    _use_own_metrics_dir(target, prefix + "prometheus_multiproc_dir")


def _use_own_metrics_dir(target, name):
    """Because: each main process empties the folder of its metrics at its start, so a shared one would lose those of the live calls."""
    folder, given = os.environ.get("PROMETHEUS_MULTIPROC_DIR"), getattr(target, name, None)
    if not folder or not given or given == folder:
        return
    say("the metrics of this worker are in a folder of its own, and not in prometheus_multiproc_dir %s" % given)
    target.__dict__[name] = folder
