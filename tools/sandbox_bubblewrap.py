"""Full CPython in bubblewrap: a file system of its own, no network, no environment, few processes. Linux only."""

import os
import shutil
import sys
from pathlib import Path

from tools.processes import Ended, run_limited
from tools.sandbox import MOST_CHARACTERS, VALUE, Limits, over_time, prepared, told

_READY = "\x02muster\x03\n"
_MOST_PROCESSES = 8
_FILE_BYTES = 16_000_000
_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")
_LINKED = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_MISSING = "run_python with `sandbox: bubblewrap` needs {what}; `sandbox: monty` works everywhere"
# Runs inside, before the code: sets the limits that hold for it and all that it starts, and says that it has come so
# far. The code follows on stdin, which is then empty.
_BEGIN = f"""
import os, resource, sys
code = sys.stdin.buffer.read().decode()
null = os.open("/dev/null", os.O_RDONLY)
os.dup2(null, 0)
memory, seconds, processes, size = (int(word) for word in sys.argv[1:5])
for kind, most in (
    (resource.RLIMIT_AS, memory),
    (resource.RLIMIT_CPU, seconds),
    (resource.RLIMIT_NPROC, processes),
    (resource.RLIMIT_FSIZE, size),
    (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_CORE, 0),
):
    resource.setrlimit(kind, (most, most))
os.closerange(3, 64)
sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
sys.stdout.write({_READY!r})
del sys.argv[1:]
names = {{"__name__": "__main__"}}
try:
    exec(compile(code, "<code>", "exec"), names)
    if names.get({VALUE!r}) is not None:
        print(repr(names[{VALUE!r}]))
except SystemExit as error:
    if error.code not in (None, 0):
        print(f"SystemExit: {{error.code}}"[:2000])
except BaseException as error:
    import traceback
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<code>"]
    place = f"line {{lines[-1]}}: " if lines else ""
    print(f"{{place}}{{type(error).__name__}}: {{error}}"[:2000])
sys.stdout.flush()
"""


def run_in_bubblewrap(code: str, limits: Limits) -> str:
    """Run code; return what it printed, its last value, or what went wrong. Raises: ValueError where none can run."""
    program, python = shutil.which("bwrap"), next((path for path in _PYTHONS if Path(path).exists()), "")
    if sys.platform != "linux" or program is None:
        what = "bubblewrap, which this machine does not have (`apt-get install bubblewrap`)"
        raise ValueError(_MISSING.format(what=what))
    if not python:
        raise ValueError(_MISSING.format(what="a Python of the system (/usr/bin/python3)"))
    try:
        bound, _ = prepared(code)
    except ValueError as error:
        return str(error)
    inner = [str(limits.memory_bytes), str(int(limits.seconds) + 1), str(_MOST_PROCESSES), str(_FILE_BYTES)]
    try:
        ended = run_limited(
            [program, *_walls(), "--", python, "-I", "-c", _BEGIN, *inner],
            folder=Path("/"),
            environment={"PATH": "/usr/bin:/bin"},
            seconds=limits.seconds,
            max_characters=MOST_CHARACTERS + len(_READY),
            given=bound.encode() or b"\n",
            as_nobody=os.geteuid() == 0,  # the kernel does not count the processes of root
        )
    except OSError as error:
        raise ValueError(_MISSING.format(what=f"bubblewrap, which cannot be started ({error.strerror})")) from error
    return _result(ended, limits)


def _walls() -> list[str]:
    walls = ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    walls += ["--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8"]
    walls += ["--hostname", "sandbox", "--ro-bind", "/usr", "/usr"]
    for place in _LINKED:
        if os.path.islink(place):
            walls += ["--symlink", os.readlink(place), place]
        else:
            walls += ["--ro-bind-try", place, place]
    walls += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    for device in _DEVICES:
        walls += ["--dev-bind", device, device]
    # No /proc, and no place to write but /tmp, which has an end: a tmpfs without one is the machine's memory.
    return [*walls, "--size", str(_FILE_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"]


def _result(ended: Ended, limits: Limits) -> str:
    before, ready, output = ended.output.partition(_READY)
    if not ready:
        if ended.how == "time":
            return told("", over_time(limits))
        why = " ".join(before.split())[:300] or f"exit code {ended.code}"
        raise ValueError(_MISSING.format(what=f"user namespaces, which this machine does not allow ({why})"))
    if ended.how == "time":
        return told(output, over_time(limits))
    if ended.how == "output":
        return told(output, cut=True)
    problem = f"[ended with exit code {ended.code}]" if ended.code != 0 else ""
    return told(output, problem)
