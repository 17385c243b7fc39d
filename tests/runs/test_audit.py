"""Whatever is changed in the journal of runs shows; what Muster itself does to them is no tampering."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.audit import FILE_TAMPERINGS, Scene, false_alarms, file_of, tampered, verify
from benchmarks.audit_scenes import KEY, TAMPERINGS, delete, make_runs, script, write_scenes
from project.errors import AppError
from project.settings import load_settings
from runs.audit.file import read_file
from runs.audit.heads import AuditKeys, stored_heads
from runs.audit.tombstones import read_tombstones
from runs.stored import sealing
from runs.stored.database import open_database
from tests.lab import Lab
from tests.postgres import PostgresServer
from tests.runs.scene import tool_file, write_project
from tests.scripted_server import ScriptedServer

_SOME = (
    "what a tool returned",
    "when a step ended",
    "middle step removed",
    "tail of a lane cut off",
    "two steps reordered",
    "two lanes swapped",
    "a lane put in",
    "result of a run",
    "a step put into a run that waits",
    "the plan and its digest",
    "who started a run",
    "who answered",
    "a question removed",
    "a payload file changed",
    "the newest run removed without a tombstone",
    "middle tombstone removed",
    "the newest head removed",
    "a head forged without the key",
    "all heads removed",
    "the newest run removed with all that told of it",
)


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_AUDIT_KEY", KEY)


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedServer]:
    with ScriptedServer(script()) as running:
        yield running


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, scripted: ScriptedServer) -> Scene:
    """Finished runs of every kind, signed; each test looks at a copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSTER_AUDIT_KEY", KEY)
        lab = Lab(tmp_path_factory.mktemp("audited"))
        make_runs(lab, scripted)
        return Scene(lab, lab.settings())


@pytest.fixture(scope="module")
def heads(scene: Scene) -> list[str]:
    return file_of(open_database(scene.settings), scene.folder, scene.keys)


@pytest.mark.parametrize("name", _SOME)
def test_tampering_is_found(scene: Scene, heads: list[str], name: str) -> None:
    (one,) = (found for found in TAMPERINGS if found.name == name)
    alone, with_file = tampered(scene, name, heads)
    assert with_file
    assert bool(alone) is not one.elsewhere


def test_a_finding_says_where(scene: Scene, heads: list[str]) -> None:
    (found,) = tampered(scene, "what a tool returned", heads)[0]
    assert (found.run_id, found.lane, found.step) == ("row", "noted", 2)
    assert found.what == "the step noted/worker/note#1 was changed"


@pytest.mark.parametrize("name", FILE_TAMPERINGS)
def test_a_file_that_was_changed_says_so(scene: Scene, heads: list[str], name: str) -> None:
    changed = FILE_TAMPERINGS[name](list(heads))
    assert verify(open_database(scene.settings), scene.folder, scene.keys, changed).problems


def test_a_file_of_something_else_is_refused() -> None:
    with pytest.raises(AppError, match="was not written by `muster audit`") as refused:
        read_file(["{}\n"])
    assert refused.value.exit_code == 3


def test_a_signed_file_needs_the_key(scene: Scene, heads: list[str]) -> None:
    with pytest.raises(AppError, match="MUSTER_AUDIT_KEY is not set, and the file is signed") as refused:
        verify(open_database(scene.settings), scene.folder, None, heads)
    assert refused.value.exit_code == 3


def test_an_output_given_by_hand_is_told_as_an_edit(scene: Scene) -> None:
    database = open_database(scene.settings)
    notes = [json.loads(head.head).get("note") for head in stored_heads(database, "mended")]
    assert notes == [None, {"edit": "set", "task": "failing", "by": "bo@desk", "why": "no model"}, None]
    found = verify(database, scene.folder, scene.keys)
    assert (found.problems, found.uncovered, found.deleted) == ([], [], 3)
    assert [(one.run_id, one.what) for one in found.findings] == [
        ("mended", "bo@desk gave the output of failing: no model")
    ]


def test_a_tombstone_says_who_deleted_what(scene: Scene) -> None:
    database = open_database(scene.settings)
    stones = read_tombstones(database)
    assert [(stone.run_id, stone.crew, stone.deleted_by) for stone in stones] == [
        (f"gone-{number}", "row", "dee@desk") for number in (1, 2, 3)
    ]
    kept = {head.run_id: head for head in stored_heads(database)}
    assert [stone.head for stone in stones] == [kept[stone.run_id].digest for stone in stones]
    assert all(kept[stone.run_id].head == "" for stone in stones)


def test_another_key_still_checks_what_the_old_one_signed(scene: Scene) -> None:
    database = open_database(scene.settings)
    new, old = b"another key of the audit", KEY.encode()
    assert verify(database, scene.folder, AuditKeys((new, old))).problems == []
    alone = verify(database, scene.folder, AuditKeys((new,))).problems
    assert "signed with another key" in alone[0].what


def test_what_muster_does_is_no_tampering(tmp_path: Path, audited: None, scripted: ScriptedServer) -> None:
    lab = Lab(tmp_path / "legal")
    make_runs(lab, scripted)
    found = false_alarms(Scene(lab, lab.settings()), scripted)
    lab.close()
    assert len(found) > 30
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_on_postgres_it_is_the_same(
    tmp_path: Path,
    audited: None,
    postgres_server: PostgresServer,
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
    scripted: ScriptedServer,
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", postgres)
    lab = Lab(tmp_path / "project")
    write_scenes(lab, scripted)
    for run_id in ("gone-3", "row", "forked"):
        assert lab.run("row", run_id=run_id).status == "succeeded"
    delete(lab, "gone-3")
    lab.close()
    there = Scene(lab, lab.settings(), postgres_server)
    database = open_database(there.settings)
    lines = file_of(database, there.folder, there.keys)
    assert verify(database, there.folder, there.keys, lines).problems == []
    database.dispose()
    for name in ("what a tool returned", "two lanes swapped", "last tombstone removed", "the newest head removed"):
        assert tampered(there, name, lines)[0], name


def test_nothing_is_kept_without_a_key(lab: Lab, model: ScriptedServer) -> None:
    write_scenes(lab, model)
    assert lab.run("row", run_id="unsigned").status == "succeeded"
    assert stored_heads(lab.runner.database, "unsigned") == []


SCRIPT = script()


# -- private content, and a journal under a key


@pytest.fixture
def private(
    lab: Lab, server: ScriptedServer, audited: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Lab, str]]:
    """A run that has read a private document; its journal is encrypted."""
    lab.close()
    monkeypatch.setenv("MUSTER_JOURNAL_KEY", "the first key of the journal")
    lab.write(tools__note_py=tool_file('return "a private matter"', 'effect="read", private=True'))
    write_project(lab, {"work": '@call note {"text": "a"}\n@echo'}, {"tools": ["note"]})
    outcome = lab.run()
    assert outcome.status == "succeeded"
    lab.close()
    yield lab, outcome.run_id
    lab.close()
    sealing.use({})


def test_private_content_is_left_out_and_still_verifies(private: tuple[Lab, str]) -> None:
    lab, _ = private
    settings = lab.settings()
    sealing.use(settings.environment)
    database, keys, folder = open_database(settings), AuditKeys(settings.audit_keys), settings.state_folder / "runs"
    lines = file_of(database, folder, keys, whole=True)
    assert not any("private matter" in line for line in lines)
    assert any("[private: 16 characters]" in line for line in lines)
    assert verify(database, folder, keys, lines).problems == []


def test_another_journal_key_changes_nothing(private: tuple[Lab, str]) -> None:
    lab, run_id = private
    settings = lab.settings()
    first, second = "the first key of the journal", "the second key of the journal"
    sealing.use({sealing.VARIABLE: f"{second},{first}"})
    database = open_database(settings)
    sealed = 0
    with database.begin() as connection:
        rows = connection.execute(sa.text("select workflow_uuid, function_id, output from operation_outputs")).all()
        for workflow_id, number, text in rows:
            if str(workflow_id).startswith(run_id) and sealing.is_sealed(text):
                sealed += 1
                anew = {"new": sealing.seal_text(sealing.open_text(text)), "id": workflow_id, "number": number}
                change = (
                    "update operation_outputs set output = :new where workflow_uuid = :id and function_id = :number"
                )
                connection.execute(sa.text(change), anew)
    assert sealed
    sealing.use({sealing.VARIABLE: f"{second},{first}"})
    assert verify(database, settings.state_folder / "runs", AuditKeys(settings.audit_keys)).problems == []
    sealing.use({})
    with pytest.raises(AppError, match="MUSTER_JOURNAL_KEY is not set") as refused:
        verify(database, settings.state_folder / "runs", AuditKeys(settings.audit_keys))
    assert refused.value.exit_code == 3


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AppError, match="MUSTER_AUDIT_KEY is too short: 5 bytes") as refused:
        load_settings(tmp_path, {**os.environ, "MUSTER_AUDIT_KEY": "short"})
    assert (refused.value.exit_code, refused.value.fixes()) == (3, ["`muster audit new-key` makes one"])
