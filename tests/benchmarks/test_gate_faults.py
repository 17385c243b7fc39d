"""The short version of benchmarks/gate_faults.py, and that what goes wrong in it is told."""

import json
from pathlib import Path

import pytest

from benchmarks import gate_faults
from benchmarks.gate_faults import SHORT, Fault, NotAsPlanned, Stage, expect
from tests.farm import Farm
from tests.lab import Lab
from tests.runs.gate_scene import made


def test_no_call_is_made_whatever_goes_wrong_at_the_gate(farm: Farm) -> None:
    done = farm.run("benchmarks.gate_faults", "--short")
    *told, all_told = (json.loads(line) for line in done.out.splitlines())
    assert all_told == {"faults": len(SHORT), "executed": 0, "not_as_planned": []}, done.out + done.text()
    assert {one["fault"] for one in told} == set(SHORT)
    assert done.code == 0


def test_a_call_that_was_made_and_a_fault_that_did_not_come_about_are_told(tmp_path: Path) -> None:
    def call(stage: Stage) -> None:
        (stage.marks / "made.txt").write_text("send carl x\n")

    def fails(_stage: Stage) -> None:
        expect(False, "it waits")

    stage = Stage(Lab(tmp_path), None, tmp_path)  # type: ignore[arg-type]  # no process is started
    told = gate_faults.play(stage, Fault("call", call))
    assert (told["executed"], told["calls"], made(tmp_path / "call")) == (1, ["send carl x"], ["send carl x"])
    assert gate_faults.play(stage, Fault("fails", fails))["problem"] == "not as planned: it waits"
    assert "only 0 of 1" in gate_faults.play(stage, Fault("right", lambda _stage: None, allowed=1))["problem"]
    with pytest.raises(NotAsPlanned):
        expect(False, "x")
