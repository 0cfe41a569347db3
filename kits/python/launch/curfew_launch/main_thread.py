"""
Runs the job of a forked worker on its main thread, as the framework's own job process does, and the framework's server on
another one. So an agent may set signal handlers, and libraries that want the main thread have it.

The framework's own thread executor does the reverse. Each name that is changed here is checked first. Where one lacks, the
framework's thread executor stays as it is.
"""

import functools
import logging
import queue
import signal
import sys
import threading
import traceback
from types import SimpleNamespace

from . import coroutine_of, say


def changer(cli):
    """
    `cli`: the module livekit.agents.cli.cli. Returns what runs its worker: `run(original, args, kwargs)`.
    LookupError: the version's signal handler raises into the main thread, so the server must run there.
    """
    from livekit.agents.ipc import job_proc_lazy_main, job_thread_executor

    if not hasattr(cli, "_EXIT_ESCALATION_TIMEOUT"):
        raise LookupError("cli has no _EXIT_ESCALATION_TIMEOUT")
    for module, name in ((cli, "signal"), (job_thread_executor, "threading")):
        if not hasattr(module, name):
            raise LookupError("%s has no %s" % (module.__name__, name))
    coroutine_of(job_thread_executor.ThreadJobExecutor, "_start")
    job_proc_lazy_main.thread_main
    return functools.partial(_run, cli, job_proc_lazy_main, job_thread_executor)


def _run(cli, job_main, executor, original, args, kwargs):
    tasks = queue.SimpleQueue()
    cli.signal = _Signals(tasks)
    executor.threading = SimpleNamespace(Thread=functools.partial(_MainThread, tasks))
    _as_process(job_main)
    server = _Server(tasks, lambda: original(*args, **kwargs))
    _name_jobs(executor.ThreadJobExecutor, server)
    server.start()
    code = None
    while True:
        task = tasks.get()
        if task is None:
            break
        try:
            task()
        except SystemExit as error:
            # In a process of its own it would end that process.
            code = error.code
        except BaseException:
            # As a thread does. The framework learns of the end, and starts another one.
            traceback.print_exc()
    server.join()
    if server.failure is not None:
        raise server.failure
    if code not in (None, 0):
        sys.exit(code)
    return server.result


class _Server(threading.Thread):
    def __init__(self, tasks, run):
        super().__init__(name="curfew-server")
        self._tasks, self._run = tasks, run
        self.result = self.failure = None

    def run(self):
        try:
            self.result = self._run()
        except BaseException as error:
            self.failure = error
        finally:
            self._tasks.put(None)


class _MainThread:
    """The thread executor takes it for its thread."""

    def __init__(self, tasks, target, args=(), name=""):
        self._tasks, self._work = tasks, lambda: target(*args)
        self.native_id = threading.main_thread().native_id

    def start(self):
        self._tasks.put(self._work)


def _as_process(job_main):
    """The job has a process of its own, and code may ask for that."""
    init = job_main._JobProc.__init__

    @functools.wraps(init)
    def init_as_process(self, *args, **kwargs):
        if "executor_type" in kwargs:
            kwargs["executor_type"] = type(kwargs["executor_type"]).PROCESS
        init(self, *args, **kwargs)

    job_main._JobProc.__init__ = init_as_process


def _name_jobs(executor, server):
    """Each line of the job's log names its job and room. In a process of its own the framework adds both to what it passes on."""
    start = executor._start

    @functools.wraps(start)
    async def start_and_name(self):
        for handler in logging.getLogger().handlers:
            handler.addFilter(_JobFields(self, server))
        return await start(self)

    executor._start = start_and_name


class _JobFields(logging.Filter):
    def __init__(self, executor, server):
        super().__init__()
        self._executor, self._server = executor, server

    def filter(self, record):
        if record.thread != self._server.ident:
            for name, value in self._executor.logging_extra().items():
                if name != "tid" and not hasattr(record, name):
                    setattr(record, name, value)
        return True


class _Signals:
    """
    In place of the module `signal` for the framework's server, which is not on the main thread. Its handlers run on the main
    thread, as Python's handlers always do. A handler that the job's own code sets later wins.
    """

    def __init__(self, tasks):
        self._tasks = tasks
        self._handlers = {}

    def __getattr__(self, name):
        return getattr(signal, name)

    def signal(self, number, handler):
        before = self._handlers.get(number)
        self._handlers[number] = handler
        if before is None:
            installed = threading.Event()
            self._tasks.put(lambda: (signal.signal(number, self._handle), installed.set()))
            installed.wait()
        return before

    def _handle(self, number, frame):
        try:
            self._handlers[number](number, frame)
        except BaseException as error:
            # The framework raises to stop its own loop, which runs on another thread.
            say("a signal handler of the framework raised %r" % error)
