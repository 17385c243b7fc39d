"""Finding a project, reading it, and what is implied where files are missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from project.errors import AppError, ConfigErrors
from project.load import find_project
from tests.pace import cpu_of
from tests.project.folder import AGENTS, TASKS, complaints, load, write

_ROOT = Path(__file__).resolve().parents[2]


def test_the_option_comes_before_the_environment_and_that_before_the_folder(tmp_path: Path) -> None:
    one, two, three = (write(tmp_path / name) for name in ("one", "two", "three"))
    assert find_project(str(one), {"MUSTER_PROJECT": str(two)}, three) == one
    assert find_project(None, {"MUSTER_PROJECT": str(two)}, three) == two
    assert find_project(None, {"MUSTER_PROJECT": ""}, three) == three


def test_a_project_is_found_from_the_folders_inside_it(tmp_path: Path) -> None:
    root = write(tmp_path / "project", {"docs/deep/a.md": "x"})
    assert find_project(None, {}, root / "docs" / "deep") == root


def test_the_nearest_project_is_taken(tmp_path: Path) -> None:
    outer = write(tmp_path / "outer")
    inner = write(outer / "inner")
    assert find_project(None, {}, inner / "config") == inner


def test_relative_paths_are_taken_from_the_start(tmp_path: Path) -> None:
    root = write(tmp_path / "project")
    assert find_project("../project", {}, root) == root
    assert find_project(None, {"MUSTER_PROJECT": "project"}, tmp_path) == root


def test_no_project_says_what_is_missing_and_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(AppError) as caught:
        find_project(None, {}, tmp_path)
    error = caught.value
    assert str(error) == f"no project in {tmp_path} or any folder above it: config/agents.yaml is not there"
    assert error.fixes() == ["`muster new DIR` makes a project; --project DIR names one elsewhere"]
    assert error.exit_code == 3


def test_a_crewai_project_below_src_is_pointed_out(tmp_path: Path) -> None:
    write(tmp_path / "src" / "my_crew")
    with pytest.raises(AppError) as caught:
        find_project(None, {}, tmp_path)
    assert caught.value.fixes()[0].endswith("--project DIR names one elsewhere, such as src/my_crew")


def test_an_option_that_points_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(AppError) as caught:
        find_project("gone", {}, tmp_path)
    assert str(caught.value) == f"--project: no project in {tmp_path}/gone: config/agents.yaml is not there"
    with pytest.raises(AppError, match="MUSTER_PROJECT: no project in"):
        find_project(None, {"MUSTER_PROJECT": "a\0b"}, tmp_path)


def test_two_files_are_a_project(tmp_path: Path) -> None:
    project = load(write(tmp_path / "project"))
    assert list(project.agents) == ["researcher"]
    assert project.crews["default"].tasks == ["research"]
    assert {name: model.model for name, model in project.models.items()} == {"default": "auto"}
    assert project.contracts == {}
    assert project.root == tmp_path / "project"


def test_a_default_model_is_implied_beside_others(tmp_path: Path) -> None:
    project = load(write(tmp_path / "project", {"config/models.yaml": "fast: openai/gpt-4o-mini\n"}))
    assert {name: model.model for name, model in project.models.items()} == {
        "fast": "openai/gpt-4o-mini",
        "default": "auto",
    }


def test_optional_files_may_hold_comments_only(tmp_path: Path) -> None:
    files = {"config/models.yaml": "# default: auto\n", "config/contracts.yaml": "# none\n"}
    assert load(write(tmp_path / "project", files)).models["default"].model == "auto"


def test_texts_lose_the_line_break_at_their_end(tmp_path: Path) -> None:
    text = AGENTS.replace("You read.", ">\n    You read\n    a lot.\n")
    assert (
        load(write(tmp_path / "project", {"config/agents.yaml": text})).agents["researcher"].backstory
        == "You read a lot."
    )


def test_what_nothing_uses_is_noted(tmp_path: Path) -> None:
    files = {
        "config/agents.yaml": AGENTS + AGENTS.replace("researcher", "idler"),
        "config/tasks.yaml": TASKS + TASKS.replace("research:", "rest:"),
        "config/crews.yaml": "brief:\n  tasks: [research]\n  agents: [researcher, idler]\n  inputs: {topic: }\n",
    }
    assert [str(note) for note in load(write(tmp_path / "project", files)).notes] == [
        "config/agents.yaml:5:1: idler: no task is done by this agent",
        "config/tasks.yaml:5:1: rest: no crew has this task",
        "config/crews.yaml:3:24: brief.agents: `idler` does none of the crew's tasks",
        "config/crews.yaml:4:12: brief.inputs.topic: no text of the crew uses this input",
    ]


def test_a_placeholder_beside_the_inputs_is_an_input_with_a_note(tmp_path: Path) -> None:
    files = {
        "config/tasks.yaml": TASKS.replace("about it", "about {topic} for {audience}"),
        "config/crews.yaml": "brief:\n  tasks: [research]\n  inputs: {topic: }\n",
    }
    (note,) = load(write(tmp_path / "project", files)).notes
    assert str(note) == (
        "config/tasks.yaml:2:16: research.description: `{audience}` is not among the inputs of the crew `brief`, "
        "so it is a text that must be given"
    )


def test_the_digest_changes_with_every_file_that_is_read_and_with_no_other(tmp_path: Path) -> None:
    root = write(tmp_path / "project")
    seen = {load(root).digest}
    for name, text in (
        ("config/tasks.yaml", TASKS + "# a comment\n"),
        ("config/crews.yaml", "brief: {tasks: [research]}\n"),
        ("tools/a.py", "a = 1\n"),
        ("guardrails/b.py", "b = 1\n"),
        ("tools/a.py", "a = 2\n"),
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
        digest = load(root).digest
        assert digest not in seen
        seen.add(digest)
    (root / "notes.md").write_text("x")
    assert load(root).digest in seen


def test_problems_are_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(write(tmp_path / "project", {"config/agents.yaml": "researcher: {}\n"}))
    assert caught.value.exit_code == 3
    assert len(caught.value.problems) == 3


def test_a_project_may_be_named_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "project")
    monkeypatch.chdir(tmp_path)
    assert complaints(Path("project")) == []


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys, project.load, project.inputs, project.settings, project.schema\n"
        "print(sorted({'celpy', 'crewai', 'crewai_tools', 'lark', 'dbos', 'typer', 'rich', 'httpx', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_twenty_agents_load_fast(tmp_path: Path) -> None:
    agents = "".join(AGENTS.replace("researcher", f"agent_{n}") for n in range(20))
    tasks = "".join(TASKS.replace("research:", f"task_{n}:").replace(": researcher", f": agent_{n}") for n in range(20))
    root = write(tmp_path / "project", {"config/agents.yaml": agents, "config/tasks.yaml": tasks})
    assert min(cpu_of(lambda: load(root)) for _ in range(3)) < 10
