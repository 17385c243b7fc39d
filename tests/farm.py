"""Real `muster` processes, forked from one that has imported CrewAI already. Also used by benchmarks.

with Farm() as farm:
    worker = farm.start(project, "worker", "--runs", "2", MUSTER_DATABASE_URL=address)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    trial = farm.run("benchmarks.faults", "--runs", "3")
    assert trial.code == 0, trial.text()
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

ROOT = Path(__file__).resolve().parent.parent
_POLL_SECONDS = 0.02
_ALREADY_IMPORTED = (
    *("runs.executing.control", "runs.executing.worker"),
    *("openai.resources", "httpcore", "h11"),  # these when a model is first called
)
_AS_MODULE = "import runpy; runpy.run_module({name!r}, run_name='__main__', alter_sys=True)"
_forked = False
"""Whether this process is a farm's child: it may fork a farm of its own, as everything is imported."""

Out = Literal["log", "apart", "unread"]
"""Where stdout goes: where stderr goes; into a file of its own; into a pipe at whose other end nobody is."""


class Process:
    """One command under way. `log` holds what it prints to stderr, and to stdout where that is not `apart`."""

    def __init__(self, farm: "Farm", pid: int, log: Path) -> None:
        self._farm, self.pid, self.log = farm, pid, log
        self.code: int | None = None

    @property
    def out(self) -> str:
        """What it printed to stdout, where that is `apart`."""
        return _apart(self.log).read_text()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it lives."""
        if self.code is None:
            self.code = self._farm.ask({"poll": self.pid})["code"]
        return self.code

    def wait(self, seconds: float = 60.0) -> int:
        """Wait for the end; return the exit code. Raises: TimeoutError."""
        until = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"process {self.pid} goes on: {self.text()[-2000:]}")
            time.sleep(_POLL_SECONDS)
        return code

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Wait until it has printed `text`. Raises: TimeoutError, and at once when it has ended without."""
        until = time.monotonic() + seconds
        while text not in self.text():
            if time.monotonic() > until or (self.poll() is not None and text not in self.text()):
                raise TimeoutError(f"process {self.pid} has not printed {text!r}: {self.text()[-2000:]}")
            time.sleep(_POLL_SECONDS)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _apart(log: Path) -> Path:
    return log.with_suffix(".out")


class _Template(Protocol):
    """The process that forks: where it is told what, where it answers, and its end."""

    stdin: Any
    stdout: Any

    def wait(self) -> int: ...


class Farm:
    """Starts commands. All that still live are killed at the end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="muster-farm-")
        self._process: _Template = (
            _ForkedTemplate()
            if _forked and threading.active_count() == 1
            else subprocess.Popen(
                [sys.executable, __file__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        self._started: list[Process] = []

    def start(
        self, project: Path, *arguments: str, out: Out = "log", terminal: str = "", **environment: str
    ) -> Process:
        """Start `muster ARGUMENTS` on a project, in the environment as it is now.

        `terminal` is a device that becomes stdin and stderr.
        """
        given = ["--project", str(project), *arguments]
        return self._launch(given, environment, out=out, terminal=terminal)

    def execute(self, code: str, *arguments: str, out: Out = "log", **environment: str) -> Process:
        """Start a process that executes `code` with these arguments, as `python -c` does in the checkout's folder."""
        return self._launch([*arguments], environment, code=code, out=out)

    def run(self, module: str, *arguments: str, seconds: float = 300.0) -> Process:
        """Run a module to its end, as `python -m` does in the checkout's folder. Raises: TimeoutError."""
        made = self.execute(_AS_MODULE.format(name=module), *arguments, out="apart")
        made.wait(seconds)
        return made

    def _launch(self, arguments: list[str], environment: dict[str, str], **more: str) -> Process:
        log = Path(self._folder.name) / f"{len(self._started)}.log"
        log.touch()
        _apart(log).touch()
        request = {"arguments": arguments, "env": {**os.environ, **environment}, "log": str(log), **more}
        made = Process(self, self.ask(request)["pid"], log)
        self._started.append(made)
        return made

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        for made in self._started:
            made.signal(signal.SIGKILL)
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> "Farm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _ForkedTemplate:
    """A template forked from this process, which is a child of one."""

    def __init__(self) -> None:
        orders, answers = os.pipe(), os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(orders[1])
            os.close(answers[0])
            with os.fdopen(orders[0]) as told, os.fdopen(answers[1], "w") as say:
                _serve(told, say)
            os._exit(0)
        os.close(orders[0])
        os.close(answers[1])
        self.stdin, self.stdout = os.fdopen(orders[1], "w"), os.fdopen(answers[0])

    def wait(self) -> int:
        return os.waitpid(self._pid, 0)[1]


def main() -> None:
    """Be the template: import what is slow, then fork as stdin says, until it closes."""
    from runs import quiet

    before = set(os.environ)
    quiet.prepare(Path(tempfile.gettempdir()) / "muster-tests")
    _quiet.update((name, value) for name, value in os.environ.items() if name not in before)
    for heavy in ("main", *_ALREADY_IMPORTED):
        importlib.import_module(heavy)
    _serve(sys.stdin, sys.stdout)
    os._exit(0)  # taking down all that was imported would take seconds


_quiet: dict[str, str] = {}
"""What CrewAI was told when it was imported. The children are told it, too."""


def _serve(orders: Any, answers: Any) -> None:
    living: set[int] = set()
    for line in orders:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if pid else None}
            living.discard(pid)
        else:
            pid = os.fork()
            if pid == 0:
                _become(request)
            living.add(pid)
            answer = {"pid": pid}
        print(json.dumps(answer), file=answers, flush=True)
    for pid in living:  # whoever started them is gone
        os.kill(pid, signal.SIGKILL)


def _become(request: dict[str, Any]) -> None:
    """Be the command, in a forked child; does not return."""
    global _forked
    _forked = True
    code = 70
    try:
        _connect(Path(request["log"]), request["out"], request.get("terminal", ""))
        os.environ.clear()
        os.environ.update(_quiet | request["env"])
        sys.argv = ["muster", *request["arguments"]]
        if "code" in request:
            exec(request["code"], {"__name__": "__main__"})
        else:
            sys.modules["main"].main()
        code = 0
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as at the end of an interpreter
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _connect(log: Path, out: Out, terminal: str) -> None:
    """Open stdin, stdout and stderr."""
    said = os.open(terminal or log, os.O_RDWR | os.O_APPEND | os.O_NOCTTY)
    os.dup2(said if terminal else os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 2)
    if out == "unread":
        reads, said = os.pipe()
        os.close(reads)
    elif out == "apart":
        said = os.open(_apart(log), os.O_WRONLY | os.O_APPEND)
    os.dup2(said, 1)


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from tests.farm import main as be_template  # as the module, so that a child's own import finds this very one

    be_template()
