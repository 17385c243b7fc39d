"""The short version of benchmarks/schedules.py on both databases, and what it complains about."""

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.schedules import ROOT, broken_promises

_RIGHT = {"firings": 12, "runs": 12, "duplicates": 0, "firings_not_fired": 0, "missed_three": 1}
_RIGHT |= {"kills": 2, "not_killed": 0, "lost": 0, "doubled": 0}


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_two_processes_fire_each_once_and_a_kill_loses_nothing(database: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "schedules.py"), "--firings", "12", "--kills", "2"]
    done = subprocess.run([*command, "--database", database], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert {key: found[key] for key in _RIGHT} == _RIGHT
    assert sum(found["fired_by"]) == 12


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"runs": 11}, "every firing makes a run"),
        ({"firings_not_fired": 1}, "every firing makes a run"),
        ({"duplicates": 1}, "no firing makes two"),
        ({"missed_three": 3}, "three missed with latest make one run"),
        ({"not_killed": 1}, "every process that should be killed was"),
        ({"lost": 1}, "a kill loses nothing"),
        ({"doubled": 1}, "a kill doubles nothing"),
    ],
)
def test_a_broken_promise_is_named(change: dict[str, int], named: str) -> None:
    assert broken_promises({**_RIGHT, **change}) == [named]
