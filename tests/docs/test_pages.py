"""The pages hang together: links lead somewhere, the reference is current and complete, code points to real pages."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from project.foreign import AGENT_KEYS, CREW_KEYS, MODEL_KEYS, TASK_KEYS
from project.rules import RULES
from project.spec import (
    AgentSpec,
    BudgetSpec,
    CrewSpec,
    FieldSpec,
    InputSpec,
    ModelSpec,
    PriceSpec,
    Spec,
    TaskSpec,
    ToolUse,
)
from project.spec_policy import PolicySpec
from tests.generated import command_helps, find_stale, write_all
from tests.lab import APPLICATION
from tools.registry import BUILTIN

_DOCS = APPLICATION / "docs"
_PAGES = [
    *(APPLICATION / name for name in ("README.md", "AGENTS.md", "CONTRIBUTING.md")),
    *sorted(_DOCS.glob("*.md")),
    *sorted((_DOCS / "reference").glob("*.md")),
]
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_POINTER = re.compile(r'docs/([\w-]+\.md)(?:, "([^"]+)")?')
_SPECS = (AgentSpec, TaskSpec, CrewSpec, ModelSpec, ToolUse, FieldSpec, InputSpec, BudgetSpec, PriceSpec, PolicySpec)
_ROOMS = ("project", "models", "tools", "policy", "agents", "tasks", "crews", "runs", "cli")


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken: list[str] = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize(
    "page",
    [*_PAGES, *sorted(APPLICATION.glob("requirements*")), APPLICATION / "pyproject.toml"],
    ids=lambda page: page.name,
)
def test_nothing_names_the_host_of_a_package_index(page: Path) -> None:
    assert not re.search(r"pypi\.org|pythonhosted|index-url", page.read_text(encoding="utf-8"))


def test_every_page_of_the_guide_is_in_its_contents() -> None:
    contents = (_DOCS / "index.md").read_text(encoding="utf-8")
    missing = [page.name for page in _DOCS.glob("*.md") if page.name != "index.md" and f"({page.name})" not in contents]
    assert missing == []


def test_generated_files_are_current() -> None:
    assert find_stale() == []


def test_a_stale_a_missing_and_a_superfluous_file_are_named(tmp_path: Path) -> None:
    write_all(tmp_path)
    assert find_stale(tmp_path) == []
    (tmp_path / "docs/reference/cli.md").write_text("old", encoding="utf-8")
    (tmp_path / "config/schemas/tasks.schema.json").unlink()
    (tmp_path / "docs/reference/left-over.md").write_text("", encoding="utf-8")
    stale = ["config/schemas/tasks.schema.json", "docs/reference/cli.md", "docs/reference/left-over.md"]
    assert find_stale(tmp_path) == stale


def test_generated_files_hold_nothing_of_this_machine() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (_DOCS / "reference").glob("*.md"))
    assert str(APPLICATION) not in text
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text)


@pytest.mark.parametrize("spec", _SPECS, ids=lambda spec: spec.__name__)
def test_every_key_of_the_yaml_language_is_in_the_reference_with_its_meaning(spec: type[Spec]) -> None:
    reference = (_DOCS / "reference/yaml.md").read_text(encoding="utf-8")
    for name, field in spec.model_fields.items():
        assert field.description, f"{spec.__name__}.{name} has no docstring"
        assert f"| `{name}` |" in reference
        assert " ".join(field.description.split()).replace("|", "\\|") in reference


@pytest.mark.parametrize("keys", [AGENT_KEYS, TASK_KEYS, CREW_KEYS, MODEL_KEYS], ids=["agent", "task", "crew", "model"])
def test_every_key_of_crewai_is_in_the_reference_with_what_becomes_of_it(keys: dict[str, object]) -> None:
    reference = (_DOCS / "reference/yaml.md").read_text(encoding="utf-8")
    assert [name for name in keys if f"`{name}`" not in reference] == []


def test_every_rule_is_in_the_reference_and_in_the_guide() -> None:
    reference = (_DOCS / "reference/yaml.md").read_text(encoding="utf-8")
    guide = (_DOCS / "own-crew.md").read_text(encoding="utf-8")
    assert [name for name, rule in RULES.items() if rule.example not in reference] == []
    assert [name for name in RULES if not re.search(rf"^\| `{name}\b", guide, re.MULTILINE)] == []


def test_every_command_is_in_the_reference_with_its_help() -> None:
    reference = (_DOCS / "reference/cli.md").read_text(encoding="utf-8")
    helps = dict(command_helps())
    assert {"muster run", "muster check", "muster runs resume", "muster runs trace"} <= set(helps)
    assert [name for name, text in helps.items() if f"## {name}\n\n```text\n{text}\n```" not in reference] == []


def test_every_built_in_tool_is_in_the_reference() -> None:
    reference = (_DOCS / "reference/tools.md").read_text(encoding="utf-8")
    assert [name for name in BUILTIN if f"## {name}\n" not in reference] == []


def test_pages_that_comments_in_the_code_point_to_are_there() -> None:
    files = [*APPLICATION.glob("*.py"), *(path for room in _ROOMS for path in (APPLICATION / room).rglob("*.py"))]
    pointers = [found for path in files for found in _POINTER.findall(path.read_text(encoding="utf-8"))]
    assert pointers
    for page, heading in pointers:
        assert (_DOCS / page).is_file(), page
        assert not heading or f"## {heading}\n" in (_DOCS / page).read_text(encoding="utf-8"), (page, heading)
