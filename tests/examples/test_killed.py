"""A short trial of benchmarks/examples.py, in a process of its own: it forks, which this one must not."""

from tests.farm import Farm

TRIAL = ["benchmarks.examples", "--only", "planner-executor", "--kills", "3", "--latency", "40", "--seed", "2"]


def test_an_example_killed_at_random_moments_ends_alike_and_repeats_nothing(farm: Farm) -> None:
    done = farm.run(*TRIAL, seconds=170)
    assert done.code == 0, done.text()
    names, row = (line.split() for line in done.out.splitlines()[:2])
    found = dict(zip(names, row, strict=True))
    assert (found["example"], found["kills"], found["same_output"]) == ("planner-executor", "3", "True")
    assert (found["repeated_calls"], found["effects_twice"], found["stuck"]) == ("0", "0", "0")
