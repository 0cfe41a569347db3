"""
Changes the settings of `AgentServer`. A worker has one job at most, and curfew decides on admission. So the server gets:

- Any free port for its health server, so that several agents can run on one host.
- One idle job process, and none after it got its job.
- No load limit for new jobs.
- No limit of connection attempts, because giving up would end the call.
"""

from . import TESTED, say

SETTINGS = {
    "_port": 0,
    "_num_idle_processes": 1,
    "_load_threshold": float("inf"),
    "_max_retry": float("inf"),
}


def adapt(worker):
    """`worker`: the module livekit.agents.worker."""
    version = worker.__version__
    if int(version.split(".")[0]) < 1:
        say("livekit-agents stays unchanged: version %s is too old (tested with %s)" % (version, TESTED))
        return
    server, pool = worker.AgentServer, worker.ipc.proc_pool.ProcPool
    run, launch_job = server.run, pool.launch_job
    pool.set_target_idle_processes

    async def run_beside_others(self, *args, **kwargs):
        lacking = [name for name in SETTINGS if not hasattr(self, name)]
        if lacking:
            what = "AgentServer of version %s has no %s" % (version, ", ".join(lacking))
            say("livekit-agents stays unchanged: %s (tested with %s)" % (what, TESTED))
        else:
            self.__dict__.update(SETTINGS)
        return await run(self, *args, **kwargs)

    async def launch_last_job(self, *args, **kwargs):
        self.set_target_idle_processes(0)
        return await launch_job(self, *args, **kwargs)

    server.run, pool.launch_job = run_beside_others, launch_last_job
