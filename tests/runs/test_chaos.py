"""A short trial of benchmarks/chaos.py, in a process of its own: it forks, which this one must not."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRIAL = "import json; from benchmarks.chaos import measure; print(json.dumps(measure(2, 6, 50, 4)))"


def test_killed_at_random_moments_runs_end_alike_and_repeat_only_what_was_in_flight() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRIAL], cwd=ROOT, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 2
    for item in found:
        assert (item["same_output"], item["same_tokens"], item["lost_effects"]) == (True, True, 0), done.stderr
        assert item["model_repeats"] <= item["model_in_flight"]
        assert item["tool_repeats"] <= item["tool_in_flight"]
