"""Whether code gets out of the sandboxes of `run_python`.

    python -m benchmarks.sandbox [--only monty] [--show]

Each attempt goes for something that can be seen from outside: the words of a file, a variable or an open file of this
process; a file that is there afterwards; a connection that a server sees; processes that are left; a call that takes
too long; memory or time of this process. An attempt that only fails to try counts as held, so `--show` prints what each
of them said. bubblewrap is left out where it is missing. Prints a line of JSON last; exit 1 when an attempt succeeds.
"""

import argparse
import json
import os
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.run_python import run_python  # noqa: E402

SANDBOXES = ("monty", "bubblewrap")
SECONDS = 1.0
SLACK_SECONDS = 2.0
MOST_GROWTH_MB = 200
LONGEST_PAUSE_SECONDS = 1.0
_CANARY = "canary-7f3a9c"

ATTEMPTS: dict[str, str] = yaml.safe_load((ROOT / "benchmarks/sandbox_attempts.yaml").read_text())


@dataclass
class Surroundings:
    """What an attempt could reach, were it not held."""

    folder: Path
    port: int
    fd: int
    token: str
    seen: list[str] = field(default_factory=list[str])
    """What the server was asked."""

    def code(self, attempt: str) -> str:
        """Return the code of an attempt, with the places of these surroundings."""
        code = attempt.replace("{state}", str(self.folder / "state/journal"))
        code = code.replace("{outside}", str(self.folder / "outside"))
        for name, value in (("port", self.port), ("fd", self.fd), ("token", self.token), ("pid", os.getpid())):
            code = code.replace(f"{{{name}}}", str(value))
        return code.replace("{nested}", "(" * 5000 + "1" + ")" * 5000).replace("{signs}", "-" * 50_000 + "1")


@dataclass(frozen=True)
class Tried:
    """How one attempt ended."""

    name: str
    sandbox: str
    escaped: str
    """What got out; "" when nothing did."""
    seconds: float
    said: str


@contextmanager
def surroundings() -> Iterator[Surroundings]:
    """Lay out what there is to reach: files, variables, an open file, a server, a local socket."""
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as server:
        folder, token = Path(name), f"muster-escape-{os.getpid()}"
        folder.chmod(0o755)  # what keeps code from it must not be that it belongs to root
        for made in ("state", "outside"):
            (folder / made).mkdir()
            (folder / made).chmod(0o777)
        (folder / "state/journal").write_text(_CANARY)
        os.environ["TEST_CANARY"] = _CANARY
        with open(folder / "state/journal", "rb") as held, socket.socket(socket.AF_UNIX) as local:
            os.set_inheritable(held.fileno(), True)
            local.bind(f"\0{token}")
            local.listen()
            made = Surroundings(folder, server.getsockname()[1], held.fileno(), token)
            threading.Thread(target=_accept, args=(server, made.seen), daemon=True).start()
            try:
                yield made
            finally:
                del os.environ["TEST_CANARY"]


def _accept(server: socket.socket, seen: list[str]) -> None:
    with suppress(OSError):
        while True:
            connection, address = server.accept()
            seen.append(str(address))
            connection.close()


def attempt(name: str, sandbox: str, around: Surroundings) -> Tried:
    """Make one attempt and look at what it has reached."""
    before, held = _memory_mb(), _files(around)
    began = time.monotonic()
    with _ticking() as longest:
        said = run_python(around.code(ATTEMPTS[name]), sandbox=sandbox, timeout_seconds=SECONDS)  # type: ignore[arg-type]
        seconds = time.monotonic() - began
    checks: dict[str, Callable[[], bool]] = {
        "read the canary": lambda: _CANARY in said,
        "read the system": lambda: "root:" in said or "journal" in said.replace("state/journal", ""),
        "looked up a name or a socket": lambda: "RESOLVED" in said and "print(" not in said,
        "wrote a file": lambda: _files(around) != held or any(map(os.path.exists, _marks(around))),
        "connected": lambda: bool(around.seen),
        "took its time": lambda: seconds > SECONDS + SLACK_SECONDS,
        "was not cut": lambda: len(said) > 21_000,
        "was not limited": lambda: "UNLIMITED" in said,
        "left processes": lambda: bool(_left()),
        "took memory here": lambda: _memory_mb() - before > MOST_GROWTH_MB,
        "held this process up": lambda: longest[0] > LONGEST_PAUSE_SECONDS,
    }
    escaped = ", ".join(what for what, happened in checks.items() if happened())
    return Tried(name, sandbox, escaped, seconds, said)


def is_there(sandbox: str) -> str:
    """Return why a sandbox cannot be used here; "" when it can."""
    try:
        said = run_python("1 + 1", sandbox=sandbox)  # type: ignore[arg-type]
    except ValueError as error:
        return str(error)
    return "" if said == "2" else f"1 + 1 is {said}"


def _marks(around: Surroundings) -> list[str]:
    return [f"{folder}/{around.token}" for folder in ("/tmp", "/usr", "/")]


def _files(around: Surroundings) -> list[str]:
    return sorted(str(path) for path in around.folder.rglob("*"))


def _left() -> list[str]:
    """Return the processes of sandboxes that are still there a second later."""
    until = time.monotonic() + 1
    while (found := _processes()) and time.monotonic() < until:
        time.sleep(0.01)
    return found


def _processes() -> list[str]:
    """Return the processes of sandboxes that this process has started, or that nobody has any more."""
    parents: dict[str, str] = {}
    commands: dict[str, bytes] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[path.name] = (path / "stat").read_text().rpartition(")")[2].split()[1]
            commands[path.name] = (path / "cmdline").read_bytes()

    def inside(number: str) -> bool:
        command = commands.get(number, b"")
        return b"RLIMIT_NPROC" in command or command.split(b"\0")[0].endswith((b"/monty", b"/bwrap"))

    def origin(number: str) -> str:
        while inside(number):
            number = parents[number]
        return number

    return [number for number in commands if inside(number) and origin(number) in (str(os.getpid()), "1", "0")]


def _memory_mb() -> float:
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


@contextmanager
def _ticking() -> Iterator[list[float]]:
    """Measure the longest time for which this process did not get to work, in seconds."""
    longest, ended = [0.0], threading.Event()

    def tick() -> None:
        last = time.monotonic()
        while not ended.wait(0.01):
            now = time.monotonic()
            longest[0], last = max(longest[0], now - last), now

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    yield longest
    ended.set()
    thread.join()


def main() -> int:
    """Try all, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=SANDBOXES)
    parser.add_argument("--show", action="store_true", help="print what each attempt said")
    options = parser.parse_args()
    results: dict[str, object] = {}
    escapes = 0
    for sandbox in [options.only] if options.only else SANDBOXES:
        if why := is_there(sandbox):
            print(f"{sandbox}: left out: {why}")
            continue
        with surroundings() as around:
            tried = [attempt(name, sandbox, around) for name in ATTEMPTS]
            began = time.monotonic()
            alive = is_there(sandbox) == ""
            after = time.monotonic() - began
        for one in tried:
            told = f" | {one.said.splitlines()[-1][:110] if one.said else ''}" if options.show else ""
            print(f"{sandbox:10} {one.name:38} {one.seconds:5.2f} s  {one.escaped or 'held'}{told}")
        got_out = [one.name for one in tried if one.escaped]
        escapes += len(got_out) + (not alive)
        longest = max(one.seconds for one in tried)
        results[sandbox] = {"tried": len(tried), "escaped": got_out, "longest_seconds": round(longest, 2)}
        results[sandbox] |= {"works_after": alive, "call_after_seconds": round(after, 3)}  # type: ignore[operator]
    print(json.dumps(results))
    return 1 if escapes or not results else 0


if __name__ == "__main__":
    sys.exit(main())
