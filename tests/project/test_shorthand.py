"""The short ways of writing things are the long ways."""

from pathlib import Path
from textwrap import indent

import pytest

from project.load import Project
from project.rules import RULES
from project.spec import FieldSpec, GuardrailSpec, InputSpec, ModelSpec, ToolUse
from tests.project.folder import AGENTS, TASKS, load, write


def _task(rest: str, tmp_path: Path, **files: str) -> Project:
    text = TASKS + indent(rest, "  ")
    more = {f"{name}".replace("__", "/") + ".yaml": content for name, content in files.items()}
    return load(write(tmp_path / "project", {"config/tasks.yaml": text, **more}))


def test_a_tool_is_a_name_or_a_name_with_its_fixed_arguments(tmp_path: Path) -> None:
    text = 'tools: [list_notes, {search_documents: {folder: "{sources}", limit: 3}}]\n'
    assert _task(text, tmp_path).tasks["research"].tools == [
        ToolUse(name="list_notes"),
        ToolUse(name="search_documents", settings={"folder": "{sources}", "limit": 3}),
    ]


def test_a_tool_may_be_written_in_long_form_or_with_nothing_after_its_colon(tmp_path: Path) -> None:
    text = "tools:\n  - {name: search_documents, settings: {folder: docs}}\n  - list_notes:\n"
    assert _task(text, tmp_path).tasks["research"].tools == [
        ToolUse(name="search_documents", settings={"folder": "docs"}),
        ToolUse(name="list_notes"),
    ]


def test_tools_of_a_task_are_its_own_even_when_empty(tmp_path: Path) -> None:
    assert _task("tools: []\n", tmp_path).tasks["research"].tools == []


def test_tools_left_empty_are_the_agents(tmp_path: Path) -> None:
    assert _task("tools:\n", tmp_path).tasks["research"].tools is None


def test_a_class_of_crewai_tools_takes_any_arguments(tmp_path: Path) -> None:
    text = "tools: [{FileReadTool: {file_path: a.md, anything: 1}}]\n"
    (use,) = _task(text, tmp_path).tasks["research"].tools or []
    assert use.settings == {"file_path": "a.md", "anything": 1}


def test_guardrails_are_rules_functions_and_demands(tmp_path: Path) -> None:
    text = """\
guardrails:
  - cited
  - words: 300
  - words: {min: 100}
  - required_sections: [Summary]
  - matches: '^# '
  - polite
  - The text names a price
  - "Careful: it may contain a colon"
"""
    root = write(
        tmp_path / "project",
        {
            "config/tasks.yaml": TASKS + indent(text, "  "),
            "guardrails/g.py": "from muster import guardrail\n\n\n@guardrail\ndef polite(text: str) -> str:\n    ...\n",
        },
    )
    assert load(root).tasks["research"].guardrails == [
        GuardrailSpec(rule="cited", value=True),
        GuardrailSpec(rule="words", value=300),
        GuardrailSpec(rule="words", value={"min": 100}),
        GuardrailSpec(rule="required_sections", value=["Summary"]),
        GuardrailSpec(rule="matches", value="^# "),
        GuardrailSpec(function="polite"),
        GuardrailSpec(text="The text names a price"),
        GuardrailSpec(text="Careful: it may contain a colon"),
    ]


@pytest.mark.parametrize("key", ["guardrail", "guardrails"])
def test_one_guardrail_needs_no_list(key: str, tmp_path: Path) -> None:
    project = _task(f"{key}: The text names a price\n", tmp_path)
    assert project.tasks["research"].guardrails == [GuardrailSpec(text="The text names a price")]


@pytest.mark.parametrize("name", list(RULES))
def test_the_example_of_every_rule_is_right(name: str, tmp_path: Path) -> None:
    (guardrail,) = _task(f"guardrails:\n  - {RULES[name].example}\n", tmp_path).tasks["research"].guardrails
    assert guardrail.rule == name
    assert RULES[name].check(guardrail.value) == ""


def test_the_fields_of_a_contract_have_four_forms(tmp_path: Path) -> None:
    text = """\
output:
  title: str
  tags: list[str]
  kind: [brief, report]
  score: {type: float, minimum: 0, maximum: 1, description: How good}
  author: {name: str, born: {type: int, optional: true}}
  items: {type: "list[object]", fields: {text: str}}
"""
    assert _task(text, tmp_path).tasks["research"].output == {
        "title": FieldSpec(type="str"),
        "tags": FieldSpec(type="list[str]"),
        "kind": FieldSpec(choices=["brief", "report"]),
        "score": FieldSpec(type="float", minimum=0, maximum=1, description="How good"),
        "author": FieldSpec(
            type="object", fields={"name": FieldSpec(type="str"), "born": FieldSpec(type="int", optional=True)}
        ),
        "items": FieldSpec(type="list[object]", fields={"text": FieldSpec(type="str")}),
    }


def test_a_contract_may_be_named(tmp_path: Path) -> None:
    project = _task("output: Report\n", tmp_path, config__contracts="Report: {title: str}\n")
    assert project.tasks["research"].output == "Report"
    assert project.contracts == {"Report": {"title": FieldSpec()}}


def test_an_input_is_nothing_a_default_or_a_description(tmp_path: Path) -> None:
    crews = """\
brief:
  tasks: [research]
  inputs:
    topic:
    words: 600
    share: 0.5
    tone: friendly
    docs: {type: folder, default: docs}
    count: {default: 3}
    rate: {type: number, default: 3}
    whom: {description: For whom}
"""
    project = _task("", tmp_path, config__crews=crews)
    assert project.crews["brief"].inputs == {
        "topic": InputSpec(),
        "words": InputSpec(type="integer", default=600),
        "share": InputSpec(type="number", default=0.5),
        "tone": InputSpec(default="friendly"),
        "docs": InputSpec(type="folder", default="docs"),
        "count": InputSpec(type="integer", default=3),
        "rate": InputSpec(type="number", default=3.0),
        "whom": InputSpec(description="For whom"),
    }
    assert type(project.crews["brief"].inputs["rate"].default) is float


def test_a_model_is_a_name_or_a_mapping(tmp_path: Path) -> None:
    models = "fast: openai/gpt-4o-mini\nslow: {model: anthropic/x, temperature: 1, price: {input: 0.1, output: 2}}\n"
    project = _task("", tmp_path, config__models=models)
    assert project.models["fast"] == ModelSpec(model="openai/gpt-4o-mini")
    price = project.models["slow"].price
    assert price is not None
    assert (str(price.input), str(price.output)) == ("0.1", "2")
    assert project.models["slow"].temperature == 1


@pytest.mark.parametrize("llm", ["fast", "gpt-4.1-mini", "default", "offline", "openai/gpt-4o", "openrouter/a/b:free"])
def test_an_agents_model_is_a_name_or_a_provider_with_its_model(llm: str, tmp_path: Path) -> None:
    agents = AGENTS + f"  llm: {llm}\n"
    models = "fast: offline\ngpt-4.1-mini: openai/gpt-4.1-mini\n"
    root = write(tmp_path / "project", {"config/agents.yaml": agents, "config/models.yaml": models})
    assert load(root).agents["researcher"].llm == llm


@pytest.mark.parametrize("path", ["report.md", "out/{topic}.md", "./a b/ü.md", "a..b.md", "configs/x.yaml"])
def test_an_output_file_is_any_plain_path_inside(path: str, tmp_path: Path) -> None:
    assert _task(f'output_file: "{path}"\n', tmp_path).tasks["research"].output_file == path


def test_a_key_without_a_value_is_a_key_that_is_not_written(tmp_path: Path) -> None:
    keys = ("async_execution", "human_input", "output_file", "markdown", "guardrails", "guardrail", "output", "offline")
    text = "".join(f"{key}:\n" for key in keys)
    assert _task(text, tmp_path).tasks["research"] == _task("", tmp_path / "other").tasks["research"]


def test_a_field_with_choices_needs_no_type(tmp_path: Path) -> None:
    text = "output: {kind: {choices: [a, b], description: Which}, inner: {choices: str}}\n"
    assert _task(text, tmp_path).tasks["research"].output == {
        "kind": FieldSpec(choices=["a", "b"], description="Which"),
        "inner": FieldSpec(type="object", fields={"choices": FieldSpec()}),
    }
