"""
Overwrites the environment that the kernel shows of this process in /proc/PID/environ, because curfew finds a worker by its mark
there. A forked process shows that of its parent until then.
Source: proc(5), environ; the area's bounds are fields 50 and 51 of /proc/self/stat.
"""

import ctypes
import os


def bounds():
    """Address and length in bytes. OSError or ValueError: the kernel does not show them."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    if start <= 0 or end <= start:
        raise ValueError("the kernel shows no environment area (%d to %d)" % (start, end))
    return start, end - start


def replace(variables, first):
    """
    The process has these variables from now on, and no others. `first`: the name of the mark, which must fit.
    As many of the others as fit are shown. Because: C code reads them elsewhere, so nothing is lost.
    """
    start, size = bounds()
    # Setting a variable copies it. So nothing points into the area any more.
    os.environ.clear()
    os.environ.update(variables)
    mark = os.fsencode("%s=%s" % (first, variables[first])) + b"\0"
    if len(mark) > size:
        raise ValueError("the mark has %d bytes, and the environment area %d" % (len(mark), size))
    shown = [mark]
    left = size - len(mark)
    for name, value in variables.items():
        entry = os.fsencode("%s=%s" % (name, value)) + b"\0"
        if name != first and len(entry) <= left:
            shown.append(entry)
            left -= len(entry)
    ctypes.memmove(start, b"".join(shown) + b"\0" * left, size)
