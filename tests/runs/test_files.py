"""`output_file`: written whole, inside the project, once."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.runs.scene import crash_after, step_names, write_project


def one_task(lab: Lab, path: str, **keys: Any) -> None:
    write_project(lab, {"work": {"description": "@answer: the text", "output_file": path, **keys}})


def test_the_output_is_written_inside_the_project(lab: Lab) -> None:
    one_task(lab, "out/{topic}.md")
    outcome = lab.run(inputs={"topic": "solar"})
    assert (lab.root / "out" / "solar.md").read_text() == "the text\n"
    assert lab.summary(outcome.run_id)["tasks"][0]["file"] == "out/solar.md"
    assert step_names(lab, outcome.run_id)[-1] == "work/worker/file#1"


def test_no_half_written_file_is_left_beside_it(lab: Lab) -> None:
    one_task(lab, "out.md")
    (lab.root / "out.md").write_text("old and longer than the new one\n")
    lab.run()
    assert (lab.root / "out.md").read_text() == "the text\n"
    assert [path.name for path in lab.root.iterdir() if path.name.startswith(".out")] == []


def test_a_file_that_cannot_be_written_fails_the_run_and_leaves_the_old_one(lab: Lab) -> None:
    (lab.root / "out.md").mkdir()
    one_task(lab, "out.md")
    outcome = lab.run()
    assert (outcome.status, outcome.reason) == (
        "failed",
        "work: work: output_file 'out.md' can't be written: Is a directory",
    )
    assert [path.name for path in lab.root.iterdir() if path.name.startswith(".out")] == []


def test_a_failed_file_is_written_when_the_run_is_resumed(lab: Lab) -> None:
    (lab.root / "out.md").mkdir()
    one_task(lab, "out.md")
    run_id = lab.run().run_id
    (lab.root / "out.md").rmdir()
    assert lab.resume(run_id).status == "succeeded"
    assert (lab.root / "out.md").read_text() == "the text\n"


def test_a_path_in_an_input_does_not_lead_out_of_the_project(lab: Lab) -> None:
    one_task(lab, "{name}.md")
    outcome = lab.run(inputs={"name": "../outside"})
    assert outcome.status == "failed"
    assert outcome.reason == "work: output_file '../outside.md' leads out of the project"
    assert outcome.fix == "name a file inside the project folder"
    assert not (lab.root.parent / "outside.md").exists()


@pytest.mark.parametrize("name", ["/tmp/muster-outside", ".muster/muster", "a/../../outside"])
def test_no_path_leads_out_of_the_project_or_into_its_state(lab: Lab, name: str) -> None:
    one_task(lab, "{name}.md")
    assert lab.run(inputs={"name": name}).reason == f"work: output_file '{name}.md' leads out of the project"


def test_a_link_that_leads_out_is_refused(lab: Lab, tmp_path: Path) -> None:
    (lab.root / "out").symlink_to(tmp_path)
    one_task(lab, "out/x.md")
    assert lab.run().reason == "work: output_file 'out/x.md' leads out of the project"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_error_where_it_may_not_be_made(lab: Lab) -> None:
    one_task(lab, "out/x.md", create_directory=False)
    outcome = lab.run()
    assert (outcome.status, outcome.fix) == ("failed", "make it")
    assert "the folder of output_file 'out/x.md' is not there" in outcome.reason
    assert not (lab.root / "out").exists()


def test_a_written_file_is_not_written_again(lab: Lab) -> None:
    one_task(lab, "out.md")
    run_id = lab.run().run_id
    (lab.root / "out.md").write_text("changed by a person\n")
    crash_after(lab, run_id, "work", 2)
    assert lab.resume(run_id).status == "succeeded"
    assert (lab.root / "out.md").read_text() == "changed by a person\n"


def test_the_file_is_readable_as_other_files_are(lab: Lab) -> None:
    one_task(lab, "out.md")
    lab.run()
    assert os.stat(lab.root / "out.md").st_mode & 0o777 == 0o644
