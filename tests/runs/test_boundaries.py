"""A short trial of benchmarks/boundaries.py, in processes of its own: it forks, which this one must not."""

import json

import pytest

from tests.farm import Farm

# From the 31st on: in the shapes whose tasks follow each other that is within the call of the `once` tool, as is the 69th.
TRIAL = "import sys; from benchmarks.boundaries import measure; measure(sys.argv[1].split(','), [sys.argv[2]], 38, print, 31)"


@pytest.mark.parametrize(
    ("shapes", "database"),
    [("line,probe,lanes,person,boss", "sqlite"), ("probe", "postgres")],
    ids=["sqlite", "postgres"],
)
def test_killed_at_a_boundary_a_run_ends_as_if_it_had_not_been(shapes: str, database: str, farm: Farm) -> None:
    done = farm.execute(TRIAL, shapes, database, out="apart")
    assert done.wait(300) == 0, done.text()
    rows = [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]
    assert [row["shape"] for row in rows] == shapes.split(",")
    for row in rows:
        assert row["same_bytes"] == row["kills"] >= 2, done.out
        assert not any(row[name] for name in ("once_twice", "two_keys", "lost_effects", "journaled_again")), done.out
        questions = {"line": row["asked"] == 2, "probe": row["asked"] == 0 and row["probed"] == 2}
        assert questions.get(row["shape"], True), done.out
