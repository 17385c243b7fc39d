"""Which arguments are paths, and where they lead, links followed."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.places import NOWHERE, is_outside, places_in


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder with files and links in it; the home folder stands beside it."""
    files = tmp_path / "run" / "files"
    (files / "reports").mkdir(parents=True)
    (files / "reports" / "a.md").write_text("a")
    (tmp_path / "home").mkdir()
    (tmp_path / "secret.txt").write_text("s")
    (files / "out").symlink_to(tmp_path)
    (files / "hidden.txt").symlink_to(tmp_path / "secret.txt")
    (files / "inner").symlink_to(files / "reports")
    (files / "round").symlink_to(files / "round")
    (files / "nothing").symlink_to("/nowhere/at/all")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return files


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("a.md", "a.md"),
        ("reports/a.md", "reports/a.md"),
        ("new/folder/x.md", "new/folder/x.md"),
        ("./reports/../b.md", "b.md"),
        ("", "."),
        (".", "."),
        ("inner/a.md", "reports/a.md"),
        (" a.md\n", "a.md"),
    ],
)
def test_a_path_inside_is_told_from_the_folder(folder: Path, path: str, place: str) -> None:
    assert places_in({"path": path}, folder) == {"path": place}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("../x", "{run}/x"),
        ("reports/../../../x", "{root}/x"),
        ("/etc/passwd", "/etc/passwd"),
        ("//etc//passwd", "/etc/passwd"),
        ("~/x", "{root}/home/x"),
        ("out/x", "{root}/x"),
        ("hidden.txt", "{root}/secret.txt"),
        ("nothing", "/nowhere/at/all"),
        ("file:///etc/passwd", "/etc/passwd"),
        ("file:///%65tc/passwd", "/etc/passwd"),
        ("file:/etc/passwd", "/etc/passwd"),
        ("FILE://[host/etc/passwd", "/etc/passwd"),
    ],
)
def test_a_path_that_leads_out_is_absolute(folder: Path, tmp_path: Path, path: str, place: str) -> None:
    root = os.path.realpath(tmp_path)
    found = places_in({"path": path}, folder)["path"]
    assert found == place.format(run=f"{root}/run", root=root)
    assert is_outside(found)


@pytest.mark.parametrize(
    "path",
    ["a\0b", "x" * 5000, "n" * 300, "round", "round/x", "~nobody-of-that-name/x", "$HOME/x", "${HOME}/x", "%TEMP%/x",
     "C:\\x", "\\\\server\\share", "..\\..\\x", "out/../a.md", 5, True, ["a", 5], b"x"],
)  # fmt: skip
def test_a_path_that_cannot_be_told_is_nowhere(folder: Path, path: Any) -> None:
    assert NOWHERE in places_in({"path": path}, folder).values()
    assert is_outside(NOWHERE)


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    inside = {"path": str(folder / "a.md"), "file": str(tmp_path / "link" / "b.md")}
    assert places_in(inside, tmp_path / "link") == {"path": "a.md", "file": "b.md"}


def test_a_folder_whose_name_begins_alike_is_another(folder: Path) -> None:
    assert is_outside(places_in({"path": f"{folder}2/a.md"}, folder)["path"])


@pytest.mark.parametrize(
    "name",
    ["path", "paths", "file", "files", "folder", "filename", "file_name", "directory", "report_path", "out-file",
     "target_folder", "work_dir", "PATH", "reportPath", "input_filename"],
)  # fmt: skip
def test_some_names_are_those_of_paths(folder: Path, name: str) -> None:
    assert list(places_in({name: "plain"}, folder).values()) == ["plain"]


@pytest.mark.parametrize("name", ["profile", "text", "pathology", "query", "to"])
def test_other_names_are_not(folder: Path, name: str) -> None:
    assert places_in({name: "plain"}, folder) == {}


@pytest.mark.parametrize(
    "text", ["/etc/x", "./x", "../x", "..", "~/x", "C:\\x", "a/../../x", "a/..", " /etc/x", "file:/x"]
)
def test_a_text_that_looks_like_a_path_is_one(folder: Path, text: str) -> None:
    assert list(places_in({"target": text}, folder)) == ["target"]


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "and/or",
        "https://example.com/../x",
        "5 / 3",
        "...",
        "// a comment\ncode()",
        "/* css */\na {}",
        "~~~\nx",
    ],
)
def test_other_texts_are_not(folder: Path, text: str) -> None:
    assert places_in({"content": text}, folder) == {}


def test_a_long_text_that_begins_like_a_path_that_is_there_is_one(folder: Path) -> None:
    assert places_in({"content": "/etc/passwd\nmore"}, folder) == {"content": "/etc/passwd\nmore"}


def test_paths_are_found_however_deep_they_lie(folder: Path) -> None:
    arguments = {"edits": [{"file": "a.md"}, {"x": ["/etc/x"]}], "files": {"/etc/y": "text"}, "path": None}
    assert places_in(arguments, folder) == {"edits.0.file": "a.md", "edits.1.x.0": "/etc/x", "files": "/etc/y"}


def test_no_name_hides_another(folder: Path) -> None:
    found = places_in({"a.path": "/etc/x", "a": {"path": "b"}}, folder)
    assert sorted(found.values()) == ["/etc/x", "b"]


@given(
    st.dictionaries(
        st.sampled_from(["path", "files", "text"]),
        st.recursive(
            st.none() | st.integers() | st.text(alphabet="ab./\\~$:%\0\n\ud800é", max_size=30),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
            max_leaves=6,
        ),
    )
)
def test_any_argument_gives_places_inside_outside_or_nowhere(arguments: dict[str, Any]) -> None:
    for place in places_in(arguments, Path("/srv/runs/r1/files")).values():
        inside = not is_outside(place)
        assert not (inside and place.split("/")[0] in ("", ".."))
        assert not inside or ".." not in place.split("/")
