"""Pattern examples killed at random moments: same output, no journaled model call made again, no effect twice.

    python -m benchmarks.examples [--kills 20] [--only NAME] [--latency 120] [--seed 1]

Each example runs on its hand-written answers, served by a process of its own. It is run whole first; then copies of it
are run with kill -9 at random moments, several a run, each time resumed as `muster runs resume` does, until the kills
are used up. The parent imports CrewAI once and forks a child for each execution, before DBOS is launched. A model call
may be made again only when it was in flight at a kill: asked for, and not yet in the journal.
"""

import argparse
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos import look
from benchmarks.server import ROOT, Server
from project.errors import AppError
from tests.examples.projects import PATTERN_RUNS, PERSON, copy_example
from tests.lab import Lab

RUN = "the-run"
"""The same in every copy, so that what is derived from it is the same."""
_KILLS_A_RUN = (2, 5)
_REFUSED = 3


@dataclass(frozen=True)
class Trial:
    """What was seen of one example."""

    example: str
    runs: int
    """Runs that were killed at least once, or came to their end before their kill."""
    kills: int
    under_way: int
    """Kills after the first journaled model call."""
    same_output: bool
    """Output, outputs of tasks and files are the bytes of the undisturbed run's."""
    in_flight: int
    """Model calls that were made again because a kill met them in flight."""
    repeated_calls: int
    """Journaled model calls that were made again."""
    effects_twice: int
    """Lines of a log that stand there twice."""
    stuck: int
    """Runs that could not be resumed after a kill; what they made is not compared."""


class AnswerServer(Server):
    """The server of an example's hand-written answers."""

    def __init__(self, example: str, latency: int) -> None:
        command = [sys.executable, "-m", "tests.examples.scripted", example, str(latency)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().split()[-1])


class NotResumed(Exception):
    """A killed run is refused when it is resumed."""


def execute(lab: Lab, example: str, ready: int) -> None:
    """In a child: start the run, or go on with it, to its end. A byte to `ready` tells that it is under way."""
    crew, inputs = PATTERN_RUNS[example]
    if lab.runner.store.find(RUN) is None:
        lab.start(lab.plan(crew, inputs), RUN)
    else:
        lab.runner.resume(RUN)
    os.write(ready, b"!")
    outcome = lab.runner.wait(RUN, ask=_answer)
    assert outcome.status == "succeeded", outcome


def _answer(_question: object) -> str:
    return PERSON


def in_child(lab: Lab, example: str, kill_after: float | None) -> float | None:
    """Execute the run in a forked child; kill it so many seconds after it began. Returns its seconds, if it ended."""
    begun, ready = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            execute(lab, example, ready)
            code = 0
        except AppError as error:
            code = _REFUSED
            print(f"{example}: {error}", file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(ready)
    os.read(begun, 1)  # also when the child ends without a word
    os.close(begun)
    began = time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if os.waitstatus_to_exitcode(status) == _REFUSED:
                raise NotResumed
            if status != 0:
                raise SystemExit(f"{example}: the child ended with status {status}")
            return time.monotonic() - began
        if kill_after is not None and time.monotonic() >= began + kill_after:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.002)


@dataclass
class _Execution:
    """One run of a copy, with what its kills met."""

    lab: Lab
    kills: int = 0
    under_way: int = 0
    lost: int = 0
    """Model calls asked for and not in the journal after the last kill."""
    repeated: int = 0
    stuck: bool = False


def run_killed(lab: Lab, example: str, server: Server, most: int, rng: random.Random, length: float) -> _Execution:
    """Run a copy to its end with at most so many kills; a run that was killed at its very end counts as ended."""
    server.reset()
    run = _Execution(lab)
    try:
        _go(run, example, server, most, rng, length)
    except NotResumed:
        run.stuck = True
    run.repeated = server.get("/_stats")["attempts"] - look(lab, RUN)["models"] - run.lost
    return run


def _go(run: _Execution, example: str, server: Server, most: int, rng: random.Random, length: float) -> None:
    ended = False
    while not ended and run.kills < most:
        ended = in_child(run.lab, example, rng.uniform(0, length)) is not None
        if not ended:
            run.kills += 1
            seen = look(run.lab, RUN)
            run.under_way += seen["models"] > 0
            run.lost = server.get("/_stats")["attempts"] - seen["models"]
            ended = seen["summary"] is not None and seen["summary"]["status"] == "succeeded"
    if not ended:
        in_child(run.lab, example, None)


def result_of(lab: Lab) -> dict[str, Any]:
    """Return what a run made: its output, those of its tasks, its files; lines of logs in any order."""
    summary = look(lab, RUN)["summary"]
    files = {path.name: path.read_bytes() for path in sorted((lab.root / "output").glob("*"))}
    logs = {name: sorted(content.splitlines()) for name, content in files.items() if name.endswith(".jsonl")}
    return {
        "output": summary["output"],
        "tasks": [(task["name"], task["status"], task["output"]) for task in summary["tasks"]],
        "files": {name: content for name, content in files.items() if name not in logs},
        "logs": logs,
    }


def try_example(example: str, kills: int, latency: int, rng: random.Random, folder: Path) -> Trial:
    """Run an example whole, then with kills until they are used up; say what was seen."""
    with AnswerServer(example, latency) as server:

        def copy(name: str) -> Lab:
            lab = copy_example(f"patterns/{example}", folder / f"{example}-{name}")
            lab.models(server.base_url)
            return lab

        calm = copy("calm")
        length = in_child(calm, example, None) or 0.0
        expected = result_of(calm)
        runs: list[_Execution] = []
        while (left := kills - sum(run.kills for run in runs)) > 0:
            most = min(left, rng.randint(*_KILLS_A_RUN))
            runs.append(run_killed(copy(str(len(runs))), example, server, most, rng, length))
    results = [result_of(run.lab) for run in runs if not run.stuck]
    logs: list[list[bytes]] = [log for result in results for log in result["logs"].values()]
    return Trial(
        example,
        len(runs),
        sum(run.kills for run in runs),
        sum(run.under_way for run in runs),
        all(result == expected for result in results),
        sum(run.lost for run in runs),
        sum(run.repeated for run in runs),
        sum(len(log) - len(set(log)) for log in logs),
        sum(run.stuck for run in runs),
    )


def measure(examples: Sequence[str], kills: int, latency: int, seed: int) -> list[Trial]:
    """Try the examples, each with so many kills."""
    os.environ["OPENAI_API_KEY"] = "sk-test"
    with tempfile.TemporaryDirectory(prefix="muster-examples-") as folder:
        from runs import quiet

        quiet.prepare(Path(folder) / "crewai")
        for name in ("runs.executing.control", "openai.resources", "celpy"):
            importlib.import_module(name)
        found: list[Trial] = []
        for example in examples:
            found.append(try_example(example, kills, latency, random.Random(f"{seed}:{example}"), Path(folder)))
            print(_row([getattr(found[-1], name) for name in _COLUMNS]), flush=True)
        return found


_COLUMNS = (
    "example",
    "runs",
    "kills",
    "under_way",
    "same_output",
    "in_flight",
    "repeated_calls",
    "effects_twice",
    "stuck",
)
_WIDTH = 18


def _row(cells: Sequence[object]) -> str:
    widths = [_WIDTH if name == "example" else len(name) for name in _COLUMNS]
    return "  ".join(str(cell).ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--kills", type=int, default=20, help="for each example")
    asked.add_argument("--only", action="append", choices=list(PATTERN_RUNS), help="one example; may be given again")
    asked.add_argument("--latency", type=int, default=120, help="milliseconds a model call")
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    print(_row(_COLUMNS))
    found = measure(given.only or list(PATTERN_RUNS), given.kills, given.latency, given.seed)
    totals = {name: sum(int(getattr(trial, name)) for trial in found) for name in _COLUMNS[1:]}
    print(json.dumps({"examples": len(found), **totals}))
    bad = [
        trial for trial in found if not trial.same_output or trial.repeated_calls or trial.effects_twice or trial.stuck
    ]
    if bad:
        raise SystemExit(f"not as promised: {bad}")


if __name__ == "__main__":
    main()
