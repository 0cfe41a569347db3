"""
Tells curfew of an exception that ended the entrypoint. The framework logs it and reports the job as a success. `sys.exit(1)`
is such an exception, and `sys.exit(0)` a `ctx.shutdown()`.

The job's process then exits with 1, so that the framework itself reports a failed job, also where curfew did not hear of the
exception. Shutdown callbacks run before that, as ever. With the thread executor only the report to curfew tells.
"""

import asyncio
import functools
import signal
import sys
import threading
import time
import traceback

from . import attempt, child_env, job_report

TEXT_CHARS = 2000
FRAMES = 5
#: A signal handler cannot wake the main thread from a longer wait.
WAIT_SECONDS = 0.1


class Term:
    """Whether this process has had SIGTERM."""

    had = False


class Running:
    """The framework's own object for the job of this process. None: no job has started."""

    job = None


class Exited(Exception):
    """
    `sys.exit(1)` in the entrypoint. Because: SystemExit stops the event loop, and the framework then hangs with its agent in the room.
    It kills the process as unresponsive after a minute, without its shutdown callbacks.
    """


def adapt(job_main):
    """`job_main`: the module livekit.agents.ipc.job_proc_lazy_main."""
    proc_main, thread_main = job_main.proc_main, job_main.thread_main
    attempt("job_end", lambda: _note_start(job_main._JobProc))

    @functools.wraps(proc_main)
    def proc_main_with_exit(*args, **kwargs):
        reports = attempt("job_end", lambda: _watch(*args, **kwargs))
        attempt("job_end", _leave_term_to_main)
        attempt("access", child_env.pass_on)
        try:
            proc_main(*args, **kwargs)
        finally:
            # Race: the end of this process would cut a report that waits for a curfew that is starting again.
            for report in reports or ():
                attempt("job_end", lambda report=report: report and _await(report))
        if reports:
            sys.exit(1)

    @functools.wraps(thread_main)
    def thread_main_with_report(*args, **kwargs):
        attempt("job_end", lambda: _watch(*args, **kwargs))
        thread_main(*args, **kwargs)

    job_main.proc_main, job_main.thread_main = proc_main_with_exit, thread_main_with_report


def _note_start(job):
    start = job._start_job

    @functools.wraps(start)
    def start_and_note(self, *args, **kwargs):
        Running.job = self
        return start(self, *args, **kwargs)

    job._start_job = start_and_note


def _is_shutting_down():
    """
    `ctx.shutdown()`, the end of the room or a request of the main process came first. Then the framework only logs an exception.
    Because: the agent may have said goodbye, and another worker would greet the caller.
    """
    shutdown = getattr(Running.job, "_shutdown_fut", None)
    return shutdown is not None and shutdown.done()


def _leave_term_to_main():
    """
    The framework wants each job process to ignore SIGTERM, because the main process drains. The framework's own line for that
    has no effect, because it runs before the fork. One second before the bound of TERM the whole tree gets TERM.
    Without this handler that signal would cut the shutdown callbacks.
    A handler is not passed on to the programs that the agent starts. An ignored signal would be.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _note_term)


def _note_term(_signal, _frame):
    Term.had = True


def _await(report):
    """SIGTERM ends the wait. Because: the agent's code is done, and the next worker starts when this process is gone."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _note_term)
    until = time.monotonic() + job_report.BOUND_SECONDS
    while report.is_alive() and not Term.had and time.monotonic() < until:
        report.join(WAIT_SECONDS)


def _watch(args):
    """The list gets the report of the exception that ended the entrypoint. None: the report did not start."""
    reports = []
    entrypoint = args.job_entrypoint_fnc

    @functools.wraps(entrypoint)
    async def watched(*given, **more):
        try:
            return await entrypoint(*given, **more)
        except SystemExit as error:
            if error.code in (None, 0):
                return given[0].shutdown("the entrypoint exited")
            _note(reports, given[0], error)
            raise Exited("SystemExit: %s" % error.code) from error
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Also those that are no `Exception`, such as a panic in an extension module. The job is over then, too.
            _note(reports, given[0], error)
            raise

    args.job_entrypoint_fnc = watched
    return reports


def _note(reports, ctx, error):
    if not _is_shutting_down():
        reports.append(attempt("job_end", lambda: job_report.report(ctx.job.id, describe(error))))


def describe(error):
    """Type and message, then the last frames."""
    what = "".join(traceback.format_exception_only(type(error), error)).strip()
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    where = ["%s:%d in %s" % (one.filename, one.lineno or 0, one.name) for one in reversed(frames)]
    return " < ".join(["the entrypoint raised %s; at %s" % (what[: TEXT_CHARS // 2], where[0])] + where[1:])[:TEXT_CHARS]
