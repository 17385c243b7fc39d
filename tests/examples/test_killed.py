"""A short trial of benchmarks/examples.py, in a process of its own: it forks, which this one must not."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRIAL = ["-m", "benchmarks.examples", "--only", "planner-executor", "--kills", "3", "--latency", "40", "--seed", "2"]


def test_an_example_killed_at_random_moments_ends_alike_and_repeats_nothing() -> None:
    done = subprocess.run([sys.executable, *TRIAL], cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    names, row = (line.split() for line in done.stdout.splitlines()[:2])
    found = dict(zip(names, row, strict=True))
    assert (found["example"], found["kills"], found["same_output"]) == ("planner-executor", "3", "True")
    assert (found["repeated_calls"], found["effects_twice"], found["stuck"]) == ("0", "0", "0")
