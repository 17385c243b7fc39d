"""A short trial of benchmarks/chaos.py, in a process of its own: it forks, which this one must not."""

import json

from tests.farm import Farm

TRIAL = "import json; from benchmarks.chaos import measure; print(json.dumps(measure(2, 6, 50, 4)))"


def test_killed_at_random_moments_runs_end_alike_and_repeat_only_what_was_in_flight(farm: Farm) -> None:
    done = farm.execute(TRIAL, out="apart")
    assert done.wait(170) == 0, done.text()
    found = json.loads(done.out.splitlines()[-1])
    assert len(found) == 2
    for item in found:
        assert (item["same_output"], item["same_tokens"], item["lost_effects"]) == (True, True, 0), done.stderr
        assert item["model_repeats"] <= item["model_in_flight"]
        assert item["tool_repeats"] <= item["tool_in_flight"]
