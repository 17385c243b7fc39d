"""Every example is a project that loads, with a README that a reader can follow."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command

from cli.session import hoist_globals
from main import app
from project.load import load_project
from tests.examples.projects import EXAMPLES, FOLDERS
from tests.examples.scripted import ANSWERS, JUDGE, read_answers
from tests.lab import APPLICATION, Lab

_PATTERNS = [folder for folder in FOLDERS if folder.parts[0] == "patterns"]
_USE_CASES = ("code-review", "content-pipeline", "data-report", "support-triage")


def _commands(folder: Path) -> list[list[str]]:
    text = (EXAMPLES / folder / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    return [shlex.split(line) for line in block[1].splitlines()]


def test_there_is_an_example_of_every_pattern_and_use_case() -> None:
    assert sorted(folder.name for folder in FOLDERS if folder not in _PATTERNS) == sorted(_USE_CASES)
    assert sorted(folder.name for folder in _PATTERNS) == [
        "candidates", "delegation", "fallbacks", "gates", "handoff", "hierarchical", "human", "map", "pipeline",
        "planner-executor", "refine", "retry", "review", "router", "state",
    ]  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_an_example_passes_check_without_a_note(folder: Path) -> None:
    project = load_project(EXAMPLES / folder, APPLICATION / "tools")
    assert [str(note) for note in project.notes] == []
    assert project.crews


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_every_command_of_a_readme_parses_and_names_a_crew_and_inputs_of_the_example(folder: Path) -> None:
    for words in _commands(folder):
        assert words[0] == "muster"
        command = get_command(app)
        assert command.make_context("muster", hoist_globals(list(words[1:])))
        assert words[words.index("--project") + 1] == f"examples/{folder.as_posix()}"
        if "run" in words:
            given = dict(word.split("=", 1) for before, word in pairwise(words) if before == "-i")
            assert Lab(EXAMPLES / folder).plan(words[words.index("run") + 1], given).crew


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_readme_is_short_and_says_what_works_without_a_model(folder: Path) -> None:
    text = (EXAMPLES / folder / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 25
    assert re.search(r"\boffline\b|language model", text, re.IGNORECASE)


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_an_example_has_hand_written_answers_that_say_so(folder: Path) -> None:
    first = (ANSWERS / f"{folder.name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# Hand-written answers, not a model's"
    assert {entry.role for entry in read_answers(folder.name)} <= _roles(folder)


def _roles(folder: Path) -> set[str]:
    project = load_project(EXAMPLES / folder, APPLICATION / "tools")
    return {agent.role for agent in project.agents.values()} | {"Manager", JUDGE}
