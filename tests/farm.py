"""Real `muster` processes, forked from one that has imported CrewAI already. Also used by benchmarks.

with Farm() as farm:
    worker = farm.start(project, "worker", "--runs", "2", MUSTER_DATABASE_URL=address)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
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
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_POLL_SECONDS = 0.02


class Process:
    """One command under way. `log` holds what it prints, stdout and stderr."""

    def __init__(self, farm: "Farm", pid: int, log: Path) -> None:
        self._farm, self.pid, self.log = farm, pid, log
        self.code: int | None = None

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


class Farm:
    """Starts commands. All that still live are killed at the end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="muster-farm-")
        self._process = subprocess.Popen(
            [sys.executable, __file__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._started: list[Process] = []

    def start(self, project: Path, *arguments: str, **environment: str) -> Process:
        """Start `muster ARGUMENTS` on a project, in the environment as it is now."""
        return self._launch(["--project", str(project), *arguments], environment)

    def execute(self, code: str, *arguments: str, **environment: str) -> Process:
        """Start a process that executes `code` with these arguments, as `python -c` does in the checkout's folder."""
        return self._launch([*arguments], environment, code=code)

    def _launch(self, arguments: list[str], environment: dict[str, str], **more: str) -> Process:
        log = Path(self._folder.name) / f"{len(self._started)}.log"
        log.touch()
        request = {"arguments": arguments, "env": {**os.environ, **environment}, "log": str(log), **more}
        made = Process(self, self.ask(request)["pid"], log)
        self._started.append(made)
        return made

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        for made in self._started:
            made.signal(signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> "Farm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _serve() -> None:
    sys.path.insert(0, str(ROOT))
    from runs import quiet

    quiet.prepare(Path(tempfile.gettempdir()) / "muster-tests")
    import main

    for heavy in ("runs.executing.control", "runs.executing.worker"):
        importlib.import_module(heavy)

    living: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if pid else None}
            living.discard(pid)
        else:
            pid = os.fork()
            if pid == 0:
                _become(request, main.main)
            living.add(pid)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)
    for pid in living:  # whoever started them is gone
        os.kill(pid, signal.SIGKILL)


def _become(request: dict[str, Any], command: Any) -> None:
    """Be the command, in a forked child; does not return."""
    code = 70
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(request["env"])
        sys.argv = ["muster", *request["arguments"]]
        if "code" in request:
            exec(request["code"], {"__name__": "__main__"})
        else:
            command()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as at the end of an interpreter
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
