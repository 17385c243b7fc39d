"""The tool `shell`: one program, no shell, and nothing of it left behind."""

import os
import time
from pathlib import Path

import pytest

from muster import ToolContext
from tests.tools.files import context
from tools.shell import shell


def is_there(process: int) -> bool:
    """Say whether a process is there and is no zombie."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def gone(process: int) -> bool:
    until = time.monotonic() + 30
    while is_there(process) and time.monotonic() < until:
        os.sched_yield()
    return not is_there(process)


def test_a_program_runs_in_the_runs_own_folder(tmp_path: Path) -> None:
    assert shell("pwd -P", context(tmp_path)) == f"[exit code 0]\n{(tmp_path / 'output').resolve()}"


def test_the_exit_code_and_both_outputs_are_told(tmp_path: Path) -> None:
    assert shell("sh -c 'echo out; echo err >&2; exit 3'", context(tmp_path)) == "[exit code 3]\nout\nerr"


def test_nothing_is_expanded(tmp_path: Path) -> None:
    told = shell("printf '%s\\n' $HOME `id` $(id) * ~ 'a b' {1,2}", context(tmp_path))
    assert told.splitlines()[1:] == ["$HOME", "`id`", "$(id)", "*", "~", "a b", "{1,2}"]


@pytest.mark.parametrize(
    "command", ["ls | wc", "ls && id", "ls ; id", "ls > x", "ls < x", "ls & id", "a || b", "ls 2>&1"]
)
def test_signs_of_a_shell_are_refused_rather_than_passed_on(tmp_path: Path, command: str) -> None:
    with pytest.raises(ValueError, match="means nothing here: there is no shell"):
        shell(command, context(tmp_path))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "the command is empty"),
        ("echo 'open", "cannot be read: No closing quotation"),
        ("no-such-program-anywhere x", "there is no program 'no-such-program-anywhere'"),
        ("x" * 5000, "longer than 4000 characters"),
        ("echo a\0b", "holds a NUL"),
    ],
)
def test_a_command_that_cannot_be_run_says_why(tmp_path: Path, command: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        shell(command, context(tmp_path))


def test_the_environment_holds_no_more_than_what_programs_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_TOKEN", "canary")
    monkeypatch.setenv("LANG", "C.UTF-8")
    names = {line.partition("=")[0] for line in shell("env", context(tmp_path)).splitlines()[1:]}
    assert {name for name in names if not name.startswith("GIT_CONFIG_")} == {"PATH", "HOME", "LANG"}


def test_declared_secrets_are_in_its_environment(tmp_path: Path) -> None:
    given = ToolContext(tmp_path, tmp_path / "output", secrets={"MY_TOKEN": "abc"})
    assert "MY_TOKEN=abc" in shell("env", given).splitlines()


def test_there_is_nothing_to_read_on_stdin(tmp_path: Path) -> None:
    assert shell("cat", context(tmp_path)) == "[exit code 0]"


def test_it_ends_with_its_time_and_takes_with_it_what_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    told = shell("sh -c 'sleep 61 & echo $!; trap \"\" TERM; sleep 62'", context(tmp_path), seconds=0.5)
    assert time.monotonic() - began < 50  # the programs take a minute
    head, child = told.splitlines()
    assert head == "[ended: it took longer than 0.5 s]"
    assert gone(int(child))


def test_what_it_leaves_in_the_background_ends_with_it(tmp_path: Path) -> None:
    began = time.monotonic()
    head, child = shell("sh -c 'sleep 61 & echo $!'", context(tmp_path), seconds=60).splitlines()
    assert (head, time.monotonic() - began < 50) == ("[exit code 0]", True)
    assert gone(int(child))


def test_endless_output_ends_it(tmp_path: Path) -> None:
    told = shell("yes", context(tmp_path), seconds=60)  # at its time's end it would say so
    assert told.startswith("[ended: it wrote more than 20000 characters; the first are shown]\ny\ny\n")
    assert len(told) < 20_200


def test_a_program_that_a_signal_ends_is_told_so(tmp_path: Path) -> None:
    assert shell("sh -c 'kill -9 $$'", context(tmp_path)) == "[ended by signal 9]"
