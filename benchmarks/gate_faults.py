"""Faults at the gate: whatever goes wrong between a model's call of a tool and the call itself, the call is not made.

    python -m benchmarks.gate_faults [--short] [--only NAME]

Each fault is a small real run whose tools leave a mark in a file when they are really called: the store is locked, an
answer or a question was changed in the database, an approval has expired, was given for another call or by somebody who
may not give it, the policy cannot be decided, the name of a tool only looks like the right one … Prints a line of JSON
for each and one for all; exit 1 when a call was made that may not be, or when a fault did not come about.
"""

import argparse
import importlib
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.server import Server  # noqa: E402
from runs.people.inbox import DoesNotCount, Inbox  # noqa: E402
from runs.people.questions import Question, Reply, approval  # noqa: E402
from tests.farm import Farm, Process  # noqa: E402
from tests.lab import Lab  # noqa: E402
from tests.runs.gate_scene import inbox_of, made, the_question, watch, write_gate  # noqa: E402

SHORT = (
    "no_terminal",
    "question_changed_in_the_database",
    "rule_raises",
    "delegated_call",
    "path_leads_out",
    "name_looks_alike",
)
"""Faults of the short version, which the tests run; tests/runs/test_approvals.py has most of the others."""


Ask = Callable[[Question], str]


class Stage:
    """One project folder for all faults, each with its own folder of marks."""

    def __init__(self, lab: Lab, farm: Farm, folder: Path) -> None:
        self.lab, self.farm, self.folder = lab, farm, folder

    def begin(self, name: str) -> None:
        """Prepare for a fault."""
        place = self.folder / name
        place.mkdir()
        self.marks = place
        for file in ("crews", "schedules"):
            (self.lab.root / "config" / f"{file}.yaml").unlink(missing_ok=True)
        watch(place)

    def write(self, *lines: str, policy: dict[str, Any] | None = None, **more: Any) -> None:
        """Write a project whose only task makes these calls."""
        write_gate(self.lab, *lines, policy=policy, **more)

    def run(self, *lines: str, policy: dict[str, Any] | None = None, ask: Ask | None = None, run_id: str = "") -> Any:
        """Run these calls to the end; return the outcome."""
        self.write(*lines, policy=policy)
        outcome = self.lab.run(ask=ask, run_id=run_id or None)
        self.lab.close()
        return outcome

    def waits(self, *lines: str, policy: dict[str, Any] | None = None) -> str:
        """Start a run that waits for an approval, end its process; return its id."""
        outcome = self.run(*lines, policy=policy)
        expect(outcome.status == "waiting", f"the run waits: {outcome}")
        return outcome.run_id

    def answer(self, run_id: str, said: str = "", by: str = "ada@desk") -> str:
        """Approve the only open question of a run; return its id."""
        question_id = the_question(self.lab, run_id).question_id
        expect(self.inbox.answer(question_id, approval("approval", (), said or None), by), "the answer is taken")
        return question_id

    def refuses(self, question_id: str, by: str = "ada@desk", said: Reply | str = "") -> None:
        """See that the inbox takes no such answer."""
        try:
            taken = self.inbox.answer(question_id, said, by)
        except DoesNotCount:
            return
        expect(not taken, "the inbox refuses the answer")

    def goes_on(self, run_id: str, **more: Any) -> Any:
        """Resume a run to its end; return the outcome."""
        outcome = self.lab.resume(run_id, **more)
        self.lab.close()
        return outcome

    def waits_on(self, run_id: str, **more: Any) -> None:
        """Resume a run, and see that it waits again."""
        outcome = self.goes_on(run_id, **more)
        expect(outcome.status == "waiting", f"the run waits again: {outcome}")

    @property
    def inbox(self) -> Inbox:
        """The inbox, as another process would open it."""
        return inbox_of(self.lab)

    def muster(self, *arguments: str, **environ: str) -> Process:
        """Start a real command."""
        return self.farm.start(self.lab.root, *arguments, **environ)

    def made(self) -> list[str]:
        """Return the calls that were really made."""
        return made(self.marks)


class NotAsPlanned(Exception):
    """A fault did not come about."""


def expect(kept: bool, what: str) -> None:
    """Raises: NotAsPlanned."""
    if not kept:
        raise NotAsPlanned(what)


@dataclass(frozen=True)
class Fault:
    """One fault; `allowed` calls of it are right."""

    name: str
    play: Callable[[Stage], None]
    allowed: int = 0


FAULTS: list[Fault] = []


def fault(*, allowed: int = 0) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register a fault under the name of its function."""

    def register(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        FAULTS.append(Fault(play.__name__, play, allowed))
        return play

    return register


def play(stage: Stage, one: Fault) -> dict[str, Any]:
    """Let one fault happen; return what came of it."""
    stage.begin(one.name)
    began = time.monotonic()
    problem = ""
    try:
        one.play(stage)
    except NotAsPlanned as error:
        problem = f"not as planned: {error}"
    except Exception as error:  # a benchmark goes on with the next
        problem = f"{type(error).__name__}: {error}"
        traceback.print_exc()
    finally:
        stage.lab.close()
    calls = stage.made()
    wrong = max(0, len(calls) - one.allowed)
    found: dict[str, Any] = {"fault": one.name, "executed": wrong, "seconds": round(time.monotonic() - began, 1)}
    if one.allowed and len(calls) < one.allowed and not problem:
        problem = f"only {len(calls)} of {one.allowed} calls were made that are right"
    return found | ({"problem": problem} if problem else {}) | ({"calls": calls} if wrong else {})


def measure(names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Let all faults happen, or those of these names; return what came of each."""
    for module in ("gate_scenes", "gate_rules"):
        importlib.import_module(f"benchmarks.{module}")  # registers them
    with Server(latency="0") as server, Farm() as farm, tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "project")
        root.mkdir()
        lab = Lab(root)
        lab.models(server.base_url)
        stage = Stage(lab, farm, Path(folder))
        found: list[dict[str, Any]] = []
        for one in FAULTS:
            if not names or one.name in names:
                found.append(play(stage, one))
                print(json.dumps(found[-1]), flush=True)
        return found


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--short", action="store_true", help="only some of them")
    asked.add_argument("--only", default="", help="only the faults of these names, with commas between them")
    given = asked.parse_args()
    names = tuple(given.only.split(",")) if given.only else SHORT if given.short else ()
    found = measure(names)
    executed = sum(one["executed"] for one in found)
    problems = [one["fault"] for one in found if "problem" in one]
    print(json.dumps({"faults": len(found), "executed": executed, "not_as_planned": problems}), flush=True)
    if executed or problems or (names and len(found) != len(names)):
        raise SystemExit(1)


if __name__ == "__main__":
    from benchmarks import gate_faults

    gate_faults.main()
