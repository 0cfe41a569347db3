"""
Gives an agent LiveKit's real address and keys before its first line, where its own program leads to the framework's import.

Because: a module of settings is often imported before the framework. It would keep curfew's address and keys, and a token or an
API call made of them later would go to curfew. It fails closed as `access` does: the names of the framework are searched in its
files here, and checked again when it is imported. Another program keeps curfew's values until it imports the framework.
"""

import os
import re
import sys

from . import child_env, own

FRAMEWORK = re.compile(
    r"^[ \t]*(?:(?:from|import)\s+livekit\.agents\b|from\s+livekit\s+import\s+(?:\([^)]*|[^\n#(]*)\bagents\b)", re.M
)
IMPORT = re.compile(r"^[ \t]*(?:from\s+(\.*[\w.]*)\s+import\s+(\([^)]*\)|[^\n#;]+)|import\s+([\w., \t]+))", re.M)
VERSION = re.compile(r"^__version__\s*=\s*[\"'][1-9]\d*\.", re.M)
#: Flags of Python that take the next argument, and the flag that names a module.
WITH_VALUE, MODULE = ("-W", "-X"), re.compile(r"^-[bBdOqsuvx]*m(.*)$")
MOST_FILES, MOST_CHARS = 100, 500000


def give(argv):
    """`argv`: the whole command line of this process, with the program."""
    real = own.read_real()
    if real is None or not all(own.is_own(name) for name in own.NAMES):
        return
    path, folder = _main(argv[1:])
    if _leads_to_framework(path, folder) and _is_known([folder, *sys.path]):
        child_env.show(real)


def _leads_to_framework(path, folder):
    """`path`: the file of the program, or None. `folder`: where its imports begin."""
    waiting, seen = [path], set()
    while waiting and len(seen) < MOST_FILES:
        path = waiting.pop(0)
        if path is None or path in seen:
            continue
        seen.add(path)
        text = _read(path)
        if FRAMEWORK.search(text):
            return True
        waiting.extend(_local_imports(text, path, folder))
    return False


def _main(args):
    """The file of the program, and the folder where its imports begin."""
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        module = MODULE.match(arg)
        if module is not None:
            return _module(module.group(1) or (rest[0] if rest else ""))
        if arg in WITH_VALUE:
            del rest[:1]
        elif not arg.startswith("-"):
            path = os.path.realpath(arg)
            if os.path.isdir(path):
                return _file(os.path.join(path, "__main__")), path
            return path, _installed(path) or os.path.dirname(path)
        elif arg == "-c":
            return None, os.getcwd()
    return None, os.getcwd()


def _module(name):
    """As `_main`, for `python -m`."""
    for folder in (os.getcwd(), _root_of(name)):
        base = os.path.join(folder or "", *name.split("."))
        path = _file(os.path.join(base, "__main__")) or _file(base)
        if path is not None:
            return path, folder
    return None, os.getcwd()


def _installed(path):
    """The folder of the package whose console script the path is, such as `/srv/agent/.venv/bin/my-agent`. None: it is no such script."""
    if os.path.dirname(path) != os.path.realpath(os.path.dirname(sys.executable)):
        return None
    names = (match.group(1) for match in IMPORT.finditer(_read(path)))
    return next((_root_of(name) for name in names if name), None)


def _root_of(name):
    """The folder that has the package of a module. An editable installation may have a finder of its own for it."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name.split(".")[0], None)
        except Exception:
            continue  # Another finder may know it.
        if spec is not None:
            folders = list(spec.submodule_search_locations or ())
            return os.path.dirname(folders[0] if folders else spec.origin or "") or None
    return None


def _local_imports(text, path, folder):
    for match in IMPORT.finditer(text):
        name, names, plain = match.groups()
        if plain is not None:
            for one in plain.split(","):
                yield _file(os.path.join(folder, *(one.split() or [""])[0].split(".")))
            continue
        dots = len(name) - len(name.lstrip("."))
        base = os.path.dirname(path) if dots else folder
        for _ in range(dots - 1):
            base = os.path.dirname(base)
        base = os.path.join(base, *name.lstrip(".").split("."))
        yield _file(base)
        for one in names.strip("() \n").split(","):
            yield _file(os.path.join(base, (one.split() or [""])[0]))


def _file(base):
    for path in (base + ".py", os.path.join(base, "__init__.py")):
        if os.path.isfile(path):
            return path
    return None


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(MOST_CHARS)
    except OSError:
        return ""


def _is_known(folders):
    """The files of the installed framework have the names with which the registration certainly goes to curfew."""
    worker = _first(folders, "livekit", "agents", "worker.py")
    client = _first(folders, "aiohttp", "client.py")
    if worker is None or client is None:
        return False
    text = _read(worker)
    version = _read(os.path.join(os.path.dirname(worker), "version.py"))
    return (
        VERSION.search(version) is not None
        and "def _connection_task(" in text
        and "ws_connect(" in text
        and "def ws_connect(" in _read(client)
    )


def _first(folders, *names):
    paths = (os.path.join(folder, *names) for folder in folders)
    return next((path for path in paths if os.path.isfile(path)), None)
