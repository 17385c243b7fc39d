"""Every way to get a project wrong that we could think of, with all that is said about it (broken.txt)."""

import re
from pathlib import Path

import pytest

from tests.project.folder import complaints, load, write

_CASES = Path(__file__).with_name("broken.txt")


def _cases() -> list[tuple[str, dict[str, str | None], list[str]]]:
    cases: list[tuple[str, dict[str, str | None], list[str]]] = []
    for case in _CASES.read_text(encoding="utf-8").split("\n=== ")[1:]:
        name, _, rest = case.rstrip("\n").partition("\n")
        files: dict[str, str | None] = {}
        said: list[str] = []
        for part in re.split(r"^--- (?=\S)", rest, flags=re.MULTILINE)[1:]:
            title, _, text = part.partition("\n")
            if title == "says":
                said = text.splitlines()
            elif title.startswith("without "):
                files[title.removeprefix("without ")] = None
            else:
                files[title] = text
        cases.append((name, files, said))
    return cases


@pytest.mark.parametrize(("files", "said"), [pytest.param(f, s, id=name) for name, f, s in _cases()])
def test_everything_that_is_wrong_is_said_with_its_place(
    files: dict[str, str | None], said: list[str], tmp_path: Path
) -> None:
    assert complaints(write(tmp_path / "project", files)) == said


def test_every_case_says_where_and_how_to_mend_it() -> None:
    for name, _, said in _cases():
        problems = [line for line in said if not line.startswith("hint: ")]
        assert problems, name
        assert len(said) > len(problems), name
        assert all(re.match(r"[\w./]+:\d+:\d+: ", line) for line in problems), name


def test_there_are_cases_enough() -> None:
    assert len(_cases()) >= 480


def test_the_project_that_the_cases_differ_from_is_right(tmp_path: Path) -> None:
    assert load(write(tmp_path / "project")).notes == ()


def test_problems_come_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    files = {
        "guardrails/g.py": "def x(:\n",
        "tools/t.py": "def x(:\n",
        "config/models.yaml": "b: x\na: x\n",
        "config/agents.yaml": "b: {}\na: {}\n",
        "config/contracts.yaml": "a: 1\n",
        "config/tasks.yaml": "a: {}\n",
        "config/crews.yaml": "a: {}\n",
    }
    places = [line.split(": ")[0] for line in complaints(write(tmp_path / "project", files)) if line[:5] != "hint:"]
    assert list(dict.fromkeys(places)) == [
        "config/agents.yaml:1:1",
        "config/agents.yaml:2:1",
        "config/tasks.yaml:1:1",
        "config/crews.yaml:1:1",
        "config/models.yaml:1:4",
        "config/models.yaml:2:4",
        "config/contracts.yaml:1:4",
        "tools/t.py:1:7",
        "guardrails/g.py:1:7",
    ]


def test_a_credential_is_never_repeated_whatever_else_is_wrong(tmp_path: Path) -> None:
    secret = "sk-proj-abcdefghijklmnop1234567890"
    token = "Zm9vYmFyYmF6cXV4Zm9vYmFyMTIz"
    files = {
        "config/agents.yaml": f"{secret}:\n  {secret}: 1\n  role: [{secret}]\n  llm: {secret}\n  tools: [{secret}]\n",
        "config/tasks.yaml": f"a:\n  agent: {secret}\n  context: [{secret}]\n  output: {secret}\n  offline: {secret}\n",
        "config/models.yaml": f"a:\n  model: {secret}\n  api_key: {token}\n  token: {token}\n  {token}: 1\n",
        "config/crews.yaml": f"a:\n  tasks: [{secret}]\n  inputs: {{password: {token}, b: {{type: {token}}}}}\n",
    }
    said = "\n".join(complaints(write(tmp_path / "project", files)))
    assert secret not in said
    assert token not in said
    assert said.count("looks like a key or password") >= 10
