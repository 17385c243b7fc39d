"""What is given for inputs is checked in full before a run begins."""

from pathlib import Path

import pytest

from project.errors import AppError, ConfigErrors
from project.inputs import crew_inputs, read_inputs
from project.load import Project
from tests.project.folder import TASKS, load, write

_CREWS = """\
brief:
  tasks: [research]
  inputs:
    topic: {description: What it is about}
    words: 600
    share: 0.5
    docs: {type: folder, default: docs}
    style: {type: file, default: docs/style.md}
    tone: ""
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    text = TASKS.replace("about it", "about {topic} {words} {share} {docs} {style} {tone}")
    files = {"config/tasks.yaml": text, "config/crews.yaml": _CREWS, "docs/style.md": "Be brief."}
    return load(write(tmp_path / "project", files))


def _said(project: Project, given: dict[str, str], cwd: Path) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read_inputs(project, "brief", given, cwd)
    assert caught.value.exit_code == 3
    return [*map(str, caught.value.problems), *caught.value.fixes()]


def test_defaults_stand_where_nothing_is_given(project: Project, tmp_path: Path) -> None:
    assert read_inputs(project, "brief", {"topic": "solar power"}, tmp_path) == {
        "topic": "solar power",
        "words": 600,
        "share": 0.5,
        "docs": f"{tmp_path}/project/docs",
        "style": f"{tmp_path}/project/docs/style.md",
        "tone": "",
    }


def test_given_values_have_their_types_and_paths_are_taken_from_the_current_folder(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "here" / "mine" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "mine" / "deep" / "a.md").write_text("x")
    given = {"topic": "a", "words": " 12 ", "share": "1e-3", "docs": "mine", "style": "mine/deep/a.md", "tone": ""}
    values = read_inputs(project, "brief", given, tmp_path / "here")
    assert values["words"] == 12
    assert values["share"] == 0.001
    assert values["docs"] == f"{tmp_path}/here/mine"
    assert values["style"] == f"{tmp_path}/here/mine/deep/a.md"
    assert [type(value) for value in values.values()] == [str, int, float, str, str, str]


def test_everything_wrong_is_said_at_once(project: Project, tmp_path: Path) -> None:
    given = {"topc": "x", "words": "many", "share": "half", "docs": "gone", "style": "gone.md"}
    assert _said(project, given, tmp_path) == [
        "unknown input `topc`",
        "input `topic` is missing: What it is about",
        "input `words` must be a whole number, got `many`",
        "input `share` must be a number, got `half`",
        f"input `docs`: `{tmp_path}/gone` is not there",
        f"input `style`: `{tmp_path}/gone.md` is not there",
        "did you mean `topic` instead of `topc`? `brief` takes: topic, words, share, docs, style, tone",
        "give it by -i topic=TEXT",
        "write digits only: -i words=600",
        "write it like -i share=0.5",
        "give a folder by -i docs=PATH",
        "give a file by -i style=PATH",
    ]


@pytest.mark.parametrize("value", ["1_000", "٣", "1.0", "0x10", "", "--1", "1e3", "½", "9" * 30])
def test_a_whole_number_is_written_in_plain_digits(value: str, project: Project, tmp_path: Path) -> None:
    assert "`words`" in _said(project, {"topic": "x", "words": value}, tmp_path)[0]


@pytest.mark.parametrize("value", ["nan", "inf", "-infinity", "1_0.5", "٣.٥", "1e999", "0.5.1", " "])
def test_a_number_is_finite_and_plain(value: str, project: Project, tmp_path: Path) -> None:
    assert "`share`" in _said(project, {"topic": "x", "share": value}, tmp_path)[0]


@pytest.mark.parametrize("value", ["", "   ", "\n"])
def test_an_empty_text_is_no_value_for_what_is_required(value: str, project: Project, tmp_path: Path) -> None:
    assert _said(project, {"topic": value}, tmp_path)[0] == "input `topic` is empty"


def test_a_folder_without_files_is_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    (tmp_path / "empty" / ".gitkeep").write_text("")
    said = _said(project, {"topic": "x", "docs": "empty"}, tmp_path)
    assert said[0] == f"input `docs`: the folder `{tmp_path}/empty` holds no file"


def test_a_file_is_no_folder_and_a_folder_no_file(project: Project, tmp_path: Path) -> None:
    docs = project.root / "docs"
    assert _said(project, {"topic": "x", "docs": str(docs / "style.md"), "style": str(docs)}, tmp_path)[:2] == [
        f"input `docs`: `{docs}/style.md` is a file, not a folder",
        f"input `style`: `{docs}` is a folder, not a file",
    ]


@pytest.mark.parametrize("value", ["a\0b", "x" * 5000, "~nobody-of-this-name/x"])
def test_an_impossible_path_is_told_not_thrown(value: str, project: Project, tmp_path: Path) -> None:
    assert _said(project, {"topic": "x", "docs": value}, tmp_path)[0].startswith("input `docs`: ")


def test_a_crew_without_listed_inputs_takes_its_placeholders(tmp_path: Path) -> None:
    files = {"config/tasks.yaml": TASKS.replace("about it", "about {topic}").replace("Facts", "Facts, {count} of them")}
    project = load(write(tmp_path / "project", files))
    assert list(crew_inputs(project, "default")) == ["topic", "count"]
    assert read_inputs(project, "default", {"topic": "x", "count": "5"}, tmp_path) == {"topic": "x", "count": "5"}


def test_placeholders_are_found_wherever_texts_are_filled(tmp_path: Path) -> None:
    files = {
        "config/agents.yaml": (
            "a: {role: '{role}', goal: '{goal}', backstory: '{story}', tools: [{search_documents: {folder: '{f1}'}}]}\n"
            "b: {role: R, goal: G, backstory: B, tools: [{search_documents: {folder: '{f3}'}}]}\n"
        ),
        "config/tasks.yaml": (
            "one: {description: '{d}', expected_output: '{e}', agent: a, output_file: '{o}', guardrails: ['Has {g}']}\n"
            "two: {description: D, expected_output: E, agent: b, tools: [{search_documents: {folder: '{f2}'}}]}\n"
        ),
    }
    project = load(write(tmp_path / "project", files))
    assert list(crew_inputs(project, "default")) == ["d", "e", "o", "g", "role", "goal", "story", "f1", "f2", "f3"]


def test_an_unknown_crew_is_named_with_the_nearest(project: Project) -> None:
    with pytest.raises(AppError) as caught:
        crew_inputs(project, "breif")
    assert str(caught.value) == "unknown crew `breif`"
    assert caught.value.fixes() == ["did you mean `brief` instead of `breif`? the project has: brief"]
    assert caught.value.exit_code == 3


def test_a_value_with_braces_is_taken_as_it_is(project: Project, tmp_path: Path) -> None:
    assert read_inputs(project, "brief", {"topic": "{words}"}, tmp_path)["topic"] == "{words}"
