"""
Lets a job run to its end after LiveKit's `termination`, because curfew bounds the end of a job (`ladder.aclose`, `wrap_up`).

The framework kills a job's process when its shutdown takes longer than `shutdown_process_timeout`. Its default is 10 s, which
cuts a shutdown callback that writes notes. A value that the agent's code sets stays. A process that does not acknowledge the
shutdown is killed as before.
"""

#: The defaults of `shutdown_process_timeout`: 60 s up to version 1.2, then 10 s.
DEFAULTS = (10.0, 60.0)
#: Longer than every bound that a config of curfew can have. Infinity would be no valid timeout for each event loop.
LONG_SECONDS = 86400.0


def adapt(executor):
    """`executor`: the module livekit.agents.ipc.job_proc_executor."""
    job = executor.ProcJobExecutor
    aclose = job.aclose

    async def aclose_to_the_end(self):
        if self._opts.close_timeout in DEFAULTS:
            acknowledged = getattr(self, "_shutdown_ack_fut", None)
            if acknowledged is None:
                self._opts.close_timeout = LONG_SECONDS
            else:
                acknowledged.add_done_callback(lambda _: setattr(self._opts, "close_timeout", LONG_SECONDS))
        return await aclose(self)

    job.aclose = aclose_to_the_end
