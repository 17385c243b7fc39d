"""Real runs under a tracer: no socket but the model server's, no name looked up, nothing written outside the project.

    python benchmarks/quiet.py [--tracer strace|audit] [--only brief,served,read-only-home,no-home]

    brief            the starter's crew `brief`, offline, five tasks; an ordinary HOME, which must stay empty
    served           a crew with a tool against the scripted server; HOME does not exist, and must not afterwards
    read-only-home   the starter's crew `ask`, offline; HOME cannot be written, also by root
    no-home          the same without the variable HOME

Each is one process of `main.py --project DIR run`, started in another folder. An audit hook inside Python notes each
connect, name look-up and file opened for writing; where strace is installed, the kernel's view of the same is added,
and so what compiled libraries do. The run against the server shows that the tracer sees connects. Prints a line a run
and, last, one JSON object; exit 1 when something was not quiet.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.server import Server  # noqa: E402

CASES = ("brief", "served", "read-only-home", "no-home")
TOPIC = ["-i", "topic=durable execution"]
QUESTION = ["-i", "question=When does an agent need an approval?"]
SERVED = {
    "agents": "worker: {role: Worker, goal: Do the work, backstory: You work., tools: [calculator]}\n",
    "tasks": """
count:
  description: |
    @call calculator {"expression": "6 * 7"}
    @answer: counted for {topic}
  expected_output: A line
  agent: worker
tell:
  description: "@answer: told about {topic}"
  expected_output: A line
  agent: worker
""",
}
AUDIT_HOOK = """
import json, os, sys

_file = os.open(os.environ["QUIET_AUDIT"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_PATHS = {"os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.truncate": 1}


def _note(kind, what):
    os.write(_file, (json.dumps([kind, what], default=repr) + "\\n").encode())


def _path(path, folder=-1):
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}") if os.path.exists("/proc/self/fd") else "?"
    path = os.fsdecode(path)
    return os.path.abspath(os.path.join(_path(folder) if isinstance(folder, int) and folder >= 0 else "", path))


def _hook(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg") and isinstance(arguments[1], tuple):
        _note("connect", list(arguments[1][:2]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        _note("lookup", arguments[0])
    elif event == "open" and not isinstance(arguments[0], int) and arguments[2] & _WRITES:
        _note("write", _path(arguments[0]))
    elif event in _PATHS:
        folder = arguments[-1] if event in ("os.mkdir", "os.remove", "os.rmdir") else -1
        for path in arguments[: _PATHS[event]]:
            _note("write", _path(path, folder))


sys.addaudithook(_hook)
"""
CALLS = (
    "connect,sendto,sendmsg,sendmmsg,listen,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,"
    "symlink,symlinkat,link,linkat,truncate,rmdir"
)
NUMERIC = re.compile(r"[0-9.]+|[0-9a-f:]*:[0-9a-f:.]*")


@dataclass
class Seen:
    """What one run did to the world."""

    case: str
    exit_code: int = 0
    connects: set[str] = field(default_factory=set[str])
    """`address:port`; ` (listens)` for a socket that waits for others."""
    lookups: set[str] = field(default_factory=set[str])
    writes: set[str] = field(default_factory=set[str])
    left: set[str] = field(default_factory=set[str])
    """Files that are new in, or gone from, HOME, the current folder and the temporary one."""

    def to_json(self) -> dict[str, Any]:
        """Return what was seen; of the files written, how many."""
        sets = {"connects": self.connects, "lookups": self.lookups, "left": self.left}
        shown = {name: sorted(found) for name, found in sets.items()}
        return {"case": self.case, "exit_code": self.exit_code, **shown, "writes": len(self.writes)}


@dataclass(frozen=True)
class Place:
    """The folders of one run."""

    root: Path

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def watched(self) -> tuple[Path, ...]:
        return tuple(self.root / name for name in ("home", "cwd", "tmp"))

    def listing(self) -> set[str]:
        return {str(path) for folder in self.watched for path in folder.rglob("*")} | {
            str(path) for path in self.root.iterdir() if path.name in ("home", "none")
        }


def home_of(case: str, place: Place) -> str | None:
    """Return the HOME of a case; None: not set."""
    if case == "no-home":
        return None
    if case == "served":
        return str(place.root / "none" / "here")
    if case == "brief":
        return str(place.root / "home")
    if os.geteuid() == 0:
        return "/proc"  # modes do not hold root back; nobody makes files there
    (place.root / "home").chmod(0o500)
    return str(place.root / "home")


def run_case(case: str, place: Place, arguments: Sequence[str], strace: str | None) -> Seen:
    """Run `main.py` with these arguments under the tracers; return what was seen."""
    hook, audit, trace = place.root / "hook", place.root / "audit.jsonl", place.root / "trace.txt"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(AUDIT_HOOK)
    unwanted = ("HOME", "XDG_", "MUSTER_", "OPENAI_")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(unwanted) and not k.endswith("_API_KEY")}
    # Bytecode of a checkout would be written beside it by Python itself.
    environ |= {"PYTHONPATH": str(hook), "PYTHONDONTWRITEBYTECODE": "1", "QUIET_AUDIT": str(audit)}
    environ["TMPDIR"] = str(place.root / "tmp")
    if (home := home_of(case, place)) is not None:
        environ["HOME"] = home
    command = [sys.executable, str(ROOT / "main.py"), "--project", str(place.project), "run", *arguments]
    if strace:
        options = ["-f", "-qq", "-y", "-s", "300", "--seccomp-bpf", "-e", f"trace={CALLS}", "-e", "signal=none"]
        command = [strace, *options, "-o", str(trace), *command]
    before = place.listing()
    done = subprocess.run(command, env=environ, cwd=place.root / "cwd", capture_output=True, text=True)
    seen = Seen(case, done.returncode, left=before ^ place.listing())
    if done.returncode != 0:
        print(done.stderr[-2000:], file=sys.stderr)
    read_audit(audit.read_text(), seen)
    if strace:
        read_strace(trace.read_text(errors="replace"), seen)
    seen.writes -= {str(audit)}
    return seen


def read_audit(text: str, seen: Seen) -> None:
    """Add what the audit hook noted."""
    for line in text.splitlines():
        kind, what = json.loads(line)
        if kind == "connect":
            seen.connects.add(f"{what[0]}:{what[1]}")
        elif kind == "write":
            seen.writes.add(what)
        elif isinstance(what, str) and not NUMERIC.fullmatch(what):
            seen.lookups.add(what)


_CALL = re.compile(r"\d+ +(\w+)\((.*)")
_ADDRESS = re.compile(
    r'sa_family=AF_INET6?, sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]*)"'
)
_PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')


def read_strace(text: str, seen: Seen) -> None:
    """Add what strace noted; a call that failed counts as much as one that did not."""
    for line in text.splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        call, rest = match.groups()
        if call in ("connect", "sendto", "sendmsg", "sendmmsg"):
            for port, address in _ADDRESS.findall(rest):
                (seen.lookups if port == "53" else seen.connects).add(f"{address}:{port}")
        elif call == "listen":
            seen.connects.add(f"{rest.partition(',')[0]} (listens)")
        elif call not in ("openat", "open") or re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", rest):
            for folder, path in _PATH.findall(rest):
                seen.writes.add(os.path.normpath(os.path.join(folder or "/", path)))


def complaints(seen: Seen, place: Place, server: str) -> list[str]:
    """Name what was not quiet; `server` is the one address that may be connected to."""
    fine = (f"{place.project}/", f"{place.root}/tmp/", "/dev/")
    outside = sorted(path for path in seen.writes if not path.startswith(fine) and path != str(place.project))
    found = [f"exit code {seen.exit_code}"] if seen.exit_code else []
    found += [f"connects to {address}" for address in sorted(seen.connects - {server})]
    found += [f"looks up {name}" for name in sorted(seen.lookups)]
    found += [f"writes {path}" for path in outside]
    found += [f"leaves or removes {path}" for path in sorted(seen.left)]
    if server and server not in seen.connects:
        found.append(f"the tracer did not see the connects to {server}")
    if not any(path.startswith(f"{place.project}/") for path in seen.writes):
        found.append("the tracer did not see what is written in the project")
    return found


def prepare(case: str, place: Place, server: Server) -> list[str]:
    """Make the project of a case; return what is to be run."""
    for folder in place.watched:
        folder.mkdir(parents=True)
    if case != "served":
        command = [sys.executable, str(ROOT / "main.py"), "new", str(place.project)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        return ["brief", *TOPIC] if case == "brief" else ["ask", *QUESTION]
    config = place.project / "config"
    config.mkdir(parents=True)
    models = f"default: {{model: openai/scripted, base_url: '{server.base_url}'}}\n"
    for name, text in {**SERVED, "models": models}.items():
        (config / f"{name}.yaml").write_text(text)
    return ["default", *TOPIC]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--tracer", choices=["strace", "audit"], help="default: strace where it is installed")
    asked.add_argument("--only", default=",".join(CASES), help=f"some of: {', '.join(CASES)}")
    given = asked.parse_args()
    strace = None if given.tracer == "audit" else shutil.which("strace")
    if given.tracer == "strace" and strace is None:
        raise SystemExit("strace is not installed")
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="muster-quiet-") as folder, Server() as server:
        for case in given.only.split(","):
            place = Place(Path(folder).resolve() / case)
            seen = run_case(case, place, prepare(case, place, server), strace)
            loud = complaints(seen, place, f"127.0.0.1:{server.port}" if case == "served" else "")
            print(f"{case:16}{'quiet' if not loud else '; '.join(loud)}", flush=True)
            found.append({**seen.to_json(), "complaints": loud})
    print(json.dumps({"tracer": "strace and audit hook" if strace else "audit hook", "cases": found}), flush=True)
    if any(one["complaints"] for one in found):
        raise SystemExit("not quiet")


if __name__ == "__main__":
    main()
