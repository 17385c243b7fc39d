"""The place in which machines share files: when it fails, what lies on a disk already, what is removed and copied."""

from pathlib import Path
from typing import Any

import pytest

from project.errors import AppError, UsageError
from tests.runs.machines import GO, LATE, Machines, gather, kept, shared
from tests.scripted_server import ScriptedServer

# -- a shared place that fails


@pytest.mark.usefixtures("small_records")
@pytest.mark.parametrize("file", ["sent.txt", ""], ids=["of a tool", "of a model"])
def test_what_was_done_is_not_done_again_when_the_shared_place_fails(
    machines: Machines, server: ScriptedServer, file: str
) -> None:
    server.configure(answer_words=5_000)
    call = f'@call lose {{"file": "{file}"}}\n@answer: sent'
    big = {"description": "Tell a long story", "context": ["work"]}
    machines.write({"work": call, "big": big}, ["lose"])
    outcome = machines.start("lost", GO)
    place = machines.folder / "shared"
    where = "work" if file else "big"
    assert (outcome.status, outcome.reason, outcome.fix) == (
        "interrupted",
        f"{where}: the shared folder {place} is not there",
        "mount it, or make it",
    )
    asked = server.stats()["attempts"]
    with pytest.raises(AppError, match="is not there"):
        machines.a.resume("lost")
    (machines.folder / "away").rename(place)
    machines.a.restart()
    outcome = machines.a.resume("lost")
    assert (outcome.status, outcome.reason) == ("succeeded", "")
    assert (machines.folder / "done.txt").read_text() == "done\n"
    assert server.stats()["attempts"] - asked == (2 if file else 0)
    assert machines.a.summary("lost")["usage"]["tool_calls"] == 1
    assert len(outcome.output) > 20_000


def test_a_place_in_which_nothing_can_be_put_is_told_before_a_run_starts(machines: Machines) -> None:
    gather(machines)
    (machines.folder / "shared" / "barred").write_text("a file where the run's folder would be")
    with pytest.raises(AppError) as caught:
        machines.start("barred")
    assert str(caught.value).endswith(
        "can't be put into the shared folder " + str(machines.folder / "shared") + ": File exists"
    )
    assert caught.value.fixes() == ["see that MUSTER_FILES leads to a place that is there, has room and may be written"]
    assert machines.a.runner.store.find("barred") is None


def test_inputs_that_are_too_large_are_refused_before_anything_is_stored(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_FILES_MAX_MB", "2")
    gather(machines)
    (machines.documents / "large.md").write_bytes(b"x" * 3_000_000)
    with pytest.raises(AppError) as caught:
        machines.start("large")
    assert str(caught.value) == "the inputs documents hold 3 MB; at most 2 MB go with a run"
    assert caught.value.fixes() == ["raise MUSTER_FILES_MAX_MB, or give a smaller folder"]
    assert shared(machines) == []
    assert machines.a.runner.store.find("large") is None


def test_a_taken_id_does_not_touch_the_inputs_of_its_run(machines: Machines) -> None:
    gather(machines)
    machines.start("mine")
    before = shared(machines)
    (machines.documents / "new.md").write_text("New.\n")
    with pytest.raises(UsageError):
        machines.start("mine")
    assert shared(machines) == before


# -- what lies on a disk already


def test_a_file_left_by_a_call_that_did_not_end_is_kept_aside(machines: Machines) -> None:
    gather(machines)
    machines.start("half")
    files = Path(machines.a.runner.folder("half"), "files")
    (files / "list.txt").write_text("one\ntwo\nthr")
    machines.a.runner.resume("half", budget=GO)
    ended = machines.a.runner.wait("half")
    assert ended.status == "succeeded"
    aside = files.parent / "replaced" / "list.txt"
    assert list(ended.warnings) == [
        f"files/list.txt is again as the last finished call left it; what was there is in {aside}"
    ]
    assert aside.read_text() == "one\ntwo\nthr"
    assert kept(machines.a, "half") == {"list.txt": "one\ntwo\nthree\n"}


def test_files_from_before_another_machine_went_on_are_brought_up_to_date(machines: Machines) -> None:
    gather(machines)
    machines.start("there")
    machines.a.close()
    machines.b.resume("there", budget=LATE)
    machines.b.close()
    assert machines.a.resume("there", budget=GO).status == "succeeded"
    assert kept(machines.a, "there") == {"list.txt": "one\ntwo\nthree\n"}
    assert not Path(machines.a.runner.folder("there"), "replaced").exists()


def test_a_delivered_file_that_a_person_edited_is_left_alone_where_it_was_delivered(machines: Machines) -> None:
    gather(machines)
    machines.start("edited", LATE)
    (machines.a.root / "out" / "list.md").write_text("edited\n")
    assert machines.a.resume("edited", budget=GO).output == "out/list.md: edited"


def test_a_damaged_file_in_the_shared_place_is_told(machines: Machines) -> None:
    gather(machines)
    machines.start("damaged")
    machines.lose_a()
    for path in (machines.folder / "shared" / "damaged" / "content").iterdir():
        path.write_text("something else")
    with pytest.raises(AppError, match="a file in the shared place was changed: "):
        machines.b.resume("damaged", budget=GO)


# -- unset, removed, copied


def test_without_a_shared_place_nothing_is_done(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSTER_FILES")
    gather(machines)
    machines.start("alone")
    assert type(machines.a.runner.folder("alone")) is type(Path())
    assert shared(machines) == []
    assert {path.name for path in machines.a.runner.folder("alone").iterdir()} <= {
        "lock",
        "calls.lock",
        "files",
        "outputs",
        "payloads",
    }
    machines.a.close()
    monkeypatch.setenv("MUSTER_FILES", str(machines.folder / "shared"))
    machines.a.resume("alone", budget=LATE)  # what lies here goes with the run from now on
    machines.lose_a()
    assert machines.b.resume("alone", budget=GO).status == "succeeded"


@pytest.mark.usefixtures("any_place")
def test_removed_files_are_gone_and_those_of_other_runs_are_not(machines: Machines) -> None:
    from runs.stored.files import remove_files, runs_folder

    gather(machines)
    machines.start("one")
    machines.start("one-more")
    settings = machines.a.settings()
    place = getattr(runs_folder(settings), "place")  # noqa: B009
    assert place.keys("one")
    remove_files(runs_folder(settings), "one")
    assert place.keys("one") == []
    assert place.keys("one-more")
    remove_files(runs_folder(settings), "one")


@pytest.mark.usefixtures("any_place")
def test_copied_files_are_those_of_the_run_but_for_its_outputs(machines: Machines) -> None:
    from runs.stored.files import copy_files, runs_folder

    gather(machines)
    machines.start("one", LATE)
    folder: Any = runs_folder(machines.a.settings())
    copy_files(folder / "one", folder / "two")
    old = [key.partition("/")[2] for key in folder.place.keys("one") if "/outputs/" not in key]
    assert [key.partition("/")[2] for key in folder.place.keys("two")] == old
    assert old
