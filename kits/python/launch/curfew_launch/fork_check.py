"""Says what makes a process unfit to be forked: what two calls would share, or what a fork would lose."""

import os
import threading

from . import own_variables

#: Kinds of descriptors that two processes must not share.
SHARED = ("anon_inode:[eventpoll]", "anon_inode:[io_uring]", "anon_inode:inotify", "anon_inode:[timerfd]")
#: States of a TCP socket. Source: the kernel's include/net/tcp_states.h.
LISTEN, CLOSED = "0A", "07"


def why_not():
    """One line, or None: the process may be forked."""
    return _threads() or _children() or _descriptors() or _variables()


def _children():
    """Two calls would share a helper, and no worker would end it."""
    pid = os.getpid()
    try:
        with open("/proc/self/task/%d/children" % pid) as file:
            children = file.read().split()
    except OSError:
        return None  # The kernel shows none.
    return "the agent's import started a child process (pid %s)" % children[0] if children else None


def _variables():
    """Without the variables of its start, the zygote's own ones count as set by the import. So each worker would share its TMPDIR."""
    mark = os.environ.get("CURFEW_WORKER")
    if mark is None or own_variables.at_exec().get("CURFEW_WORKER") == mark:
        return None
    return "the agent's import overwrote the environment that the kernel shows, as setproctitle does"


def _threads():
    names = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
    if names:
        return "the agent's import started a thread (%s)" % ", ".join(names)[:200]
    # Because: OpenBLAS and others stop their pools before a fork, and start them again when they are used.
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    tasks = len(os.listdir("/proc/self/task"))
    return None if tasks == 1 else "the agent's import started %d threads outside of Python" % (tasks - 1)


def _descriptors():
    addresses = None
    inherited = _opened(os.getppid())
    for name, target in _opened("self").items():
        if int(name) <= 2:
            continue
        if target in SHARED:
            return "the agent's import opened %s" % target
        # Because: a cold worker has the descriptors of its parent, too. Such a one keeps its number.
        if inherited.get(name) == target:
            continue
        if target.startswith("pipe:["):
            return "the agent's import opened a pipe"
        if target.startswith("socket:["):
            if addresses is None:
                addresses = _sockets()
            found = addresses.get(target[8:-1])
            if found is not None:
                return "the agent's import opened %s" % found
        elif target.startswith("/") and _is_written(name, target):
            return "the agent's import opened the file %s for writing" % target
    return None


def _opened(pid):
    """The target of each descriptor of a process. Empty: the kernel does not show them."""
    opened = {}
    try:
        names = os.listdir("/proc/%s/fd" % pid)
    except OSError:
        return opened
    for name in names:
        try:
            opened[name] = os.readlink("/proc/%s/fd/%s" % (pid, name))
        except OSError:
            pass  # It is closed by now.
    return opened


def _is_written(name, target):
    if target.startswith("/dev/") and not target.startswith("/dev/shm/"):
        return False
    try:
        with open("/proc/self/fdinfo/%s" % name) as file:
            flags = next((line.split()[1] for line in file if line.startswith("flags:")), "0")
    except OSError:
        return False
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def _sockets():
    """The text for each open socket, by inode. Sockets without a peer, such as a new one, are missing: nothing goes through them."""
    found = {}
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for fields in _lines("/proc/self/net/%s" % protocol):
            state, peer = fields[3], _address(fields[2])
            if protocol.startswith("udp"):
                if not peer.endswith(":0"):
                    found[fields[9]] = "a UDP socket to %s" % peer
            elif state == LISTEN:
                found[fields[9]] = "a listening socket on %s" % _address(fields[1])
            elif state != CLOSED:
                found[fields[9]] = "a connection to %s" % peer
    for fields in _lines("/proc/self/net/unix"):
        found[fields[6]] = "a Unix socket (%s)" % (fields[7] if len(fields) > 7 else "to another process")
    return found


def _lines(path):
    try:
        with open(path) as file:
            return [line.split() for line in file][1:]
    except OSError:
        return []


def _address(text):
    """`0100007F:1F90`, as the kernel shows an address: each group of four bytes in the host's order."""
    digits, _, port = text.partition(":")
    data = bytes.fromhex(digits)
    groups = [data[at : at + 4][::-1] for at in range(0, len(data), 4)]
    import socket

    family = socket.AF_INET if len(groups) == 1 else socket.AF_INET6
    return "%s:%d" % (socket.inet_ntop(family, b"".join(groups)), int(port, 16))
