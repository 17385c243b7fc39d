"""Files are written into the output folder, whole, and nowhere else."""

import os
from pathlib import Path

import pytest

from tests.tools.files import context
from tools.tool import make_tool
from tools.write_file import unwrite_file, write_file


def everything(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


def test_a_file_is_written_with_the_folders_it_needs(tmp_path: Path) -> None:
    said = write_file("drafts/über.md", "Grüße\n", context(tmp_path))
    assert said == "wrote 6 characters to drafts/über.md"
    assert (tmp_path / "output/drafts/über.md").read_text(encoding="utf-8") == "Grüße\n"
    assert everything(tmp_path) == ["kept/key-1", "output/drafts/über.md"]  # what was there is kept for the undo


def test_writing_again_replaces_and_says_the_same(tmp_path: Path) -> None:
    write_file("a.md", "a longer text", context(tmp_path))
    assert write_file("a.md", "b", context(tmp_path)) == write_file("a.md", "b", context(tmp_path))
    assert (tmp_path / "output/a.md").read_bytes() == b"b"
    assert everything(tmp_path) == ["kept/key-1", "output/a.md"]


def test_a_call_that_is_made_again_after_a_crash_is_undone_to_what_was_before_the_first(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output/a.md").write_text("old")
    write_file("a.md", "new", context(tmp_path))
    write_file("a.md", "new", context(tmp_path))
    assert unwrite_file("a.md", "new", context(tmp_path)) == "put back the 3 bytes that a.md was before"
    assert (tmp_path / "output/a.md").read_text() == "old"
    assert unwrite_file("a.md", "new", context(tmp_path)) == "a.md is as it was"


def test_line_ends_are_kept_as_they_are(tmp_path: Path) -> None:
    write_file("a.txt", "x\r\ny\n", context(tmp_path))
    assert (tmp_path / "output/a.txt").read_bytes() == b"x\r\ny\n"


def test_only_the_owner_may_read_what_is_written(tmp_path: Path) -> None:
    write_file("a/b.txt", "x", context(tmp_path))
    modes = [(tmp_path / "output" / name).stat().st_mode & 0o777 for name in ("a", "a/b.txt")]
    assert modes == [0o700, 0o600]


TRICKS = [
    *("", ".", "..", "./a", "../a", "a/../../b", "a/./b", "a//b", "a/", "/etc/passwd", "//a", "~/a", "~root/a"),
    *("C:\\a", "C:a", "\\\\host\\share", "..\\a", "a\\..\\..\\b", ".hidden", "a/.git/config", "a.txt:stream"),
    *(
        "a\x00b",
        "a\nb",
        "a\x1bb",
        "a\u202egnp.exe",
        "\ud800",
        "con",
        "NUL.txt",
        "a/com1",
        "a ",
        " a",
        "a.",
        "a*b",
        "a?",
    ),
    *("a" * 300, "é" * 150, "/".join("a" * 11)),
]


@pytest.mark.parametrize("path", TRICKS, ids=ascii)
def test_a_trick_is_refused_and_writes_nothing(tmp_path: Path, path: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    with pytest.raises(ValueError, match="is refused"):
        write_file(path, "x", context(project))
    assert everything(tmp_path) == []


@pytest.mark.parametrize("path", ["link/a.md", "inside/a.md", "file.md", "dangling.md"])
def test_a_link_is_not_written_through(tmp_path: Path, path: str) -> None:
    output, outside = tmp_path / "output", tmp_path / "outside"
    (output / "real").mkdir(parents=True)
    outside.mkdir()
    (outside / "file.md").write_text("kept")
    (output / "link").symlink_to(outside)
    (output / "inside").symlink_to(output / "real")
    (output / "file.md").symlink_to(outside / "file.md")
    (output / "dangling.md").symlink_to(outside / "new.md")
    with pytest.raises(ValueError, match="is refused"):
        write_file(path, "x", context(tmp_path))
    assert (outside / "file.md").read_text() == "kept"
    assert sorted(path.name for path in outside.iterdir()) == ["file.md"]


def test_a_second_name_of_a_file_outside_is_parted_from_it(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "outside.md").write_text("kept")
    os.link(tmp_path / "outside.md", tmp_path / "output/a.md")
    write_file("a.md", "new", context(tmp_path))
    assert (tmp_path / "outside.md").read_text() == "kept"


def test_a_folder_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "output/a.md").mkdir(parents=True)
    os.mkfifo(tmp_path / "output/pipe")
    for path in ("a.md", "pipe", "pipe/b.md"):
        with pytest.raises(ValueError, match="is refused"):
            write_file(path, "x", context(tmp_path))
    assert everything(tmp_path) == ["output/pipe"]


def test_half_a_character_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="half of a pair"):
        write_file("a.md", "x\ud800", context(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_it_is_declared_safe_to_repeat(tmp_path: Path) -> None:
    tool = make_tool(write_file)
    assert (tool.effect, tool.repeat, tool.returns) == ("write", "safe", "trusted")
    assert list(tool.parameters["properties"]) == ["path", "text"]
