"""The examples of the guide are true: YAML and Python load, command lines parse.

How a page is tried: a fenced `yaml` or `python` block whose first line is a comment that names its file, such as
`# config/tasks.yaml`, is a piece of a project. The page's project starts as `_BASE`, with the page's Python files and
the starter's documents. Then its YAML blocks are added in their order, each into the file it names: a new entry stands
beside those that are there, an entry of the same name takes its place. After each block the project must pass `check`.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from cli.session import hoist_globals
from main import app
from project.load import load_project
from tests.lab import APPLICATION

_PAGES = [APPLICATION / "README.md", *sorted((APPLICATION / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# ((?:config|tools|guardrails)/\w+\.(?:yaml|py))\n")
_INLINE = re.compile(r"(?<!`)`(muster [^`\n]+)`(?!`)")
_PROMPTS = ("muster", ".venv/bin/python main.py")
_BASE: dict[str, dict[str, Any]] = {
    "config/agents.yaml": {
        "researcher": {"role": "Researcher", "goal": "Find", "backstory": "You look."},
        "writer": {"role": "Writer", "goal": "Write", "backstory": "You write."},
    },
    "config/tasks.yaml": {
        "research": {"description": "Look", "expected_output": "Notes", "agent": "researcher"},
        "report": {"description": "Write", "expected_output": "A text", "agent": "writer"},
    },
}


def _named_blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """Return the page's blocks that name a file: (file, text)."""
    blocks = [text for found, text in _FENCE.findall(page.read_text(encoding="utf-8")) if found == language]
    return [(match[1], text) for text in blocks if (match := _NAMED.match(text))]


def _blocks(page: Path, *languages: str) -> list[str]:
    return [text for found, text in _FENCE.findall(page.read_text(encoding="utf-8")) if found in languages]


def _write(root: Path, files: dict[str, dict[str, Any]]) -> None:
    for name, entries in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_project_example_of_a_page_passes_check(page: Path, tmp_path: Path) -> None:
    for name, text in _named_blocks(page, "python"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = {name: dict(entries) for name, entries in _BASE.items()}
    _write(tmp_path, files)
    project = load_project(tmp_path, APPLICATION / "tools")
    for name, text in _named_blocks(page, "yaml"):
        quoted = re.sub(r"([{ ])on: ", r"\1'on': ", text)  # PyYAML takes it for true; Muster and YAML 1.2 do not
        files[name] = files.get(name, {}) | yaml.safe_load(quoted)
        _write(tmp_path, files)
        project = load_project(tmp_path, APPLICATION / "tools")
    assert set(project.tasks) == set(files["config/tasks.yaml"])


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_yaml_block_of_a_page_names_its_file(page: Path) -> None:
    assert [text for text in _blocks(page, "yaml") if not _NAMED.match(text)] == []


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_python_block_of_a_page_compiles(page: Path) -> None:
    for text in _blocks(page, "python"):
        assert compile(text, page.name, "exec")


def _command_lines(page: Path) -> Iterator[str]:
    """Yield the `muster` commands in the shell blocks of a page, without the name."""
    for block in _blocks(page, "bash"):
        for line in block.splitlines():
            for part in re.split(r"&&|\||;", line.partition(" #")[0]):
                for prompt in _PROMPTS:
                    if part.strip() == prompt or part.strip().startswith(f"{prompt} "):
                        yield part.strip().removeprefix(prompt).strip()


def _mentions(page: Path) -> list[str]:
    """Return the `muster` commands that stand in sentences; their arguments may be left out."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [found.removeprefix("muster").strip() for found in _INLINE.findall(text)]


def _parse(words: list[str]) -> str:
    """Parse a command line with the real application, down to the command that it names; run nothing."""
    command: Any = get_command(app)
    name, context = "muster", None
    while True:
        context = command.make_context(name, list(words), parent=context)
        rest: list[str] = [*context._protected_args, *context.args]
        if not hasattr(command, "commands") or not rest:
            return context.command_path
        name, command, words = command.resolve_command(context, rest)


def _is_command(line: str) -> bool:
    try:
        _parse(shlex.split(line))
    except Exception as error:
        return type(error).__name__ == "MissingParameter"
    return True


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_command_line_of_a_page_parses(page: Path) -> None:
    for line in _command_lines(page):
        assert _parse(hoist_globals(shlex.split(line))).startswith("muster"), line


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_command_that_a_sentence_names_exists(page: Path) -> None:
    assert [line for line in _mentions(page) if not _is_command(line)] == []


def test_the_guide_shows_commands_and_examples_at_all() -> None:
    lines = [line for page in _PAGES for line in _command_lines(page)]
    examples = [name for page in _PAGES for name, _ in _named_blocks(page, "yaml")]
    assert len(lines) > 30
    assert len(examples) > 15


def test_a_wrong_command_line_would_be_noticed() -> None:
    assert not _is_command("runs resum X")
    with pytest.raises(Exception, match="No such option"):
        _parse(["run", "brief", "--modle", "x"])
