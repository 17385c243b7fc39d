"""The environment over .env, the state folder, and no key in sight."""

import os
from pathlib import Path

import pytest

from project.errors import AppError
from project.settings import load_settings, make_state_folder


def test_the_environment_wins_over_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB='two words'\nexport C=3\n# D=4\nE\nF=\n")
    merged = load_settings(tmp_path, {"A": "shell", "G": "1"}).environment
    assert merged == {"A": "shell", "B": "two words", "C": "3", "F": "", "G": "1"}


def test_nothing_of_the_process_is_changed_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET_IN_PROCESS", "1")
    (tmp_path / ".env").write_text("KEY=a${SET_IN_PROCESS}$b\n")
    before = dict(os.environ)
    merged = load_settings(tmp_path, {}).environment
    assert merged == {"KEY": "a${SET_IN_PROCESS}$b"}
    assert dict(os.environ) == before


def test_no_value_is_in_the_repr(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-hidden\n")
    settings = load_settings(tmp_path, {"OTHER": "hidden-too", "MUSTER_DATABASE_URL": "sqlite:////hidden.sqlite"})
    assert "hidden" not in repr(settings)
    assert "hidden" not in str(settings)


@pytest.mark.parametrize(
    ("said", "folder"), [(None, ".muster"), ("", ".muster"), ("state", "state"), ("/var/state", "/var/state")]
)
def test_the_state_folder_is_in_the_project_unless_said_otherwise(
    said: str | None, folder: str, tmp_path: Path
) -> None:
    environ = {} if said is None else {"MUSTER_STATE": said}
    assert load_settings(tmp_path, environ).state_folder == tmp_path / folder


def test_the_state_folder_is_private_and_ignored_by_git(tmp_path: Path) -> None:
    folder = make_state_folder(load_settings(tmp_path, {}))
    assert folder == tmp_path / ".muster"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"


def test_making_it_again_changes_nothing_inside(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {})
    (make_state_folder(settings) / "runs.sqlite").write_text("x")
    (tmp_path / ".muster" / ".gitignore").write_text("mine\n")
    make_state_folder(settings)
    assert (tmp_path / ".muster" / ".gitignore").read_text() == "mine\n"
    assert (tmp_path / ".muster" / "runs.sqlite").read_text() == "x"


def test_a_folder_of_somebody_else_is_used_but_not_touched(tmp_path: Path) -> None:
    other = tmp_path / "home"
    other.mkdir(mode=0o755)
    (other / "letter.txt").write_text("x")
    make_state_folder(load_settings(tmp_path, {"MUSTER_STATE": "home"}))
    assert not (other / ".gitignore").exists()
    assert other.stat().st_mode & 0o777 == 0o755


def test_a_file_in_its_place_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / ".muster").write_text("x")
    with pytest.raises(AppError) as caught:
        make_state_folder(load_settings(tmp_path, {}))
    assert str(caught.value) == f"the state folder {tmp_path}/.muster cannot be made: File exists"
    assert caught.value.fixes() == ["make its parent writable, or point MUSTER_STATE to another folder"]


def test_sqlite_and_postgresql_are_databases(tmp_path: Path) -> None:
    for url in ("sqlite:////srv/runs.sqlite", "postgresql://me:secret@host/runs"):
        assert load_settings(tmp_path, {"MUSTER_DATABASE_URL": f" {url} "}).database_url == url
    assert (
        load_settings(tmp_path, {"MUSTER_DATABASE_URL": "postgres://host/runs"}).database_url
        == "postgresql://host/runs"
    )
    assert "secret" not in repr(load_settings(tmp_path, {"MUSTER_DATABASE_URL": "postgresql://me:secret@host/runs"}))


def test_another_database_is_refused_without_its_address(tmp_path: Path) -> None:
    with pytest.raises(AppError) as caught:
        load_settings(tmp_path, {"MUSTER_DATABASE_URL": "mysql://me:secret@host"})
    assert "secret" not in str(caught.value)
    assert str(caught.value) == "MUSTER_DATABASE_URL is not the address of a PostgreSQL or SQLite database"


def test_a_broken_line_is_named_without_its_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nOPENAI_API_KEY='sk-unclosed\nB=2\n")
    with pytest.raises(AppError) as caught:
        load_settings(tmp_path, {})
    assert str(caught.value) == ".env:2:1: is not NAME=value"
    assert caught.value.exit_code == 3


def test_an_env_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(AppError) as caught:
        load_settings(tmp_path, {})
    assert str(caught.value) == ".env:1:1: is not UTF-8"


@pytest.mark.parametrize(
    ("said", "place"),
    [("", ""), ("/mnt/files", "/mnt/files"), ("s3://bucket/prefix", "s3://bucket/prefix"), ("near", "{root}/near")],
)
def test_the_shared_place_is_an_absolute_path_or_a_url(said: str, place: str, tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {"MUSTER_FILES": said})
    assert settings.files == place.format(root=tmp_path)
    assert "bucket" not in repr(settings)


def test_the_ceiling_of_inputs_is_a_number_of_megabytes(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}).files_max_bytes == 200_000_000
    assert load_settings(tmp_path, {"MUSTER_FILES_MAX_MB": "5"}).files_max_bytes == 5_000_000
    with pytest.raises(AppError) as caught:
        load_settings(tmp_path, {"MUSTER_FILES_MAX_MB": "5 GB"})
    assert str(caught.value) == "MUSTER_FILES_MAX_MB is no number: '5 GB'"
    assert caught.value.exit_code == 3
