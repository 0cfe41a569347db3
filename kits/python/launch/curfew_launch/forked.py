"""
The birth of a forked worker. The zygote forks a waiter, which is what the shim is to a worker that was started cold, and the
waiter forks the worker. Both survive the zygote and the supervisor. Source of the files: src/adapters/worker/start/shim.ts.
"""

import os
import resource
import signal
import sys
import time

from . import env_area, own_variables, say

MARK = "CURFEW_WORKER"
REFUSED = 125
BLOCK_BYTES = 512


def birth(order, close):
    """
    Returns True in the worker, and False in the zygote. `close` closes what only the zygote has.
    `order`: folder, cwd, umask (octal text), maxFileBytes, cgroup and shimCgroup (paths or None), bootId, env.
    OSError: the kernel refused the fork.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    between = os.fork()
    if between > 0:
        os.waitpid(between, 0)
        return False
    # From here on no exception may reach the zygote's loop.
    try:
        # Race: the parent may have exited before its child can ask for it.
        parent = os.getpid()
        if os.fork() > 0:
            os._exit(0)
        _wait_for_end_of(parent)
        close()
        return _wait_for_worker(order)
    except BaseException as error:
        say("the worker in %s was not forked: %s: %s" % (order.get("folder"), type(error).__name__, error))
        os._exit(REFUSED)


def _wait_for_end_of(parent):
    """Because: a process below the zygote would end with it. The parent exits at once, and init takes its place."""
    while os.getppid() == parent:
        time.sleep(0.0002)


def _wait_for_worker(order):
    """Returns True in the worker. The waiter exits in here."""
    folder = order["folder"]
    env_area.replace(own_variables.carried_over(order["env"]), MARK)
    os.setsid()
    _enter(order.get("shimCgroup"))
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        signal.signal(getattr(signal, name), _ignore)
    os.umask(0o077)
    # The supervisor removes the order when it starts the worker cold. Only one of the two can.
    os.unlink(folder + "/order")
    _write_new(folder + "/claim", _stat(order))
    log = os.open(folder + "/log", os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    worker = os.fork()
    if worker == 0:
        _become_worker(order, log, nothing)
        return True
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(log)
    _pid, status = os.waitpid(worker, 0)
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
    _write_new(folder + "/status", "%d\n" % code)
    os._exit(code)


def _become_worker(order, log, nothing):
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _write_new(order["folder"] + "/pid", _stat(order))
    _enter(order.get("cgroup"))
    bound = int(order["maxFileBytes"]) // BLOCK_BYTES * BLOCK_BYTES
    _soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bound, hard))
    except (ValueError, OSError):
        pass  # The hard limit is lower already.
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.umask(int(order["umask"], 8))
    os.chdir(order["cwd"])


def _stat(order):
    with open("/proc/self/stat") as file:
        return "%s boot=%s\n" % (file.readline().rstrip("\n"), order["bootId"])


def _write_new(path, text):
    """Exclusively, in one write: a reader sees the whole line or none."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _enter(cgroup):
    if not cgroup:
        return
    try:
        with open(cgroup + "/cgroup.procs", "w") as file:
            file.write("0")
    except OSError:
        pass  # The worker continues without, and the supervisor checks.


def _ignore(_signal, _frame):
    """A handler, and not an ignored signal, because the worker must not inherit it over an exec."""
