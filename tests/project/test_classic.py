"""Files as they are written for CrewAI: they load, and what is different is said."""

from pathlib import Path

from project.inputs import crew_inputs
from project.load import Project
from project.spec import GuardrailSpec, ToolUse
from tests.project.folder import load

_CLASSIC = Path(__file__).with_name("classic")


def _load(name: str, tmp_path: Path) -> Project:
    root = tmp_path / "project"
    for path in sorted((_CLASSIC / name).rglob("*.yaml")):
        copy = root / path.relative_to(_CLASSIC / name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return load(root)


def test_a_market_study_is_a_project_with_one_crew(tmp_path: Path) -> None:
    project = _load("market", tmp_path)
    assert list(project.crews) == ["default"]
    assert project.crews["default"].tasks == ["study_market", "write_report"]
    assert project.models["default"].model == "auto"
    assert project.agents["market_analyst"].role == "Senior analyst for {industry}"
    assert project.agents["market_analyst"].tools == [ToolUse(name="SerperDevTool"), ToolUse(name="ScrapeWebsiteTool")]
    assert project.agents["report_writer"].tools == []
    assert project.agents["report_writer"].use_system_prompt
    assert project.agents["report_writer"].allow_delegation
    guardrails = project.tasks["write_report"].guardrails
    assert guardrails == [GuardrailSpec(text="The report names a source for every number")]
    assert list(crew_inputs(project, "default")) == ["industry", "year"]


def test_a_market_study_gets_these_notes(tmp_path: Path) -> None:
    assert [str(note) for note in _load("market", tmp_path).notes] == [
        "config/agents.yaml:12:3: market_analyst.verbose: ignored: Muster shows progress itself; `-v` shows more of it",
        "config/agents.yaml:15:3: market_analyst.max_rpm: taken differently: calls are spaced out by `rate_limit` of the model; "
        "a provider's 429 is waited out and asked again",
        "config/agents.yaml:25:3: report_writer.verbose: ignored: Muster shows progress itself; `-v` shows more of it",
        "config/tasks.yaml:12:3: write_report.name: taken differently: the task is called by its key in this file",
    ]


def test_a_support_desk_loads_with_anchors_and_every_key_at_its_harmless_value(tmp_path: Path) -> None:
    project = _load("support", tmp_path)
    solver = project.agents["solver"]
    assert solver.role == "Second level support"
    assert solver.backstory == project.agents["triage_agent"].backstory == project.agents["reviewer"].backstory
    assert project.tasks["triage"].context == []
    assert project.tasks["triage"].tools == []
    assert project.tasks["solve"].tools is None
    assert project.tasks["check"].human_input
    assert list(crew_inputs(project, "default")) == ["customer", "message"]


def test_a_support_desk_gets_these_notes(tmp_path: Path) -> None:
    differently = "taken differently"
    compaction = f"{differently}: large tool results are cut with a note and read by page"
    pages = f"{differently}: always kept: large tool results are cut with a note and read by page"
    tokens = f"{differently}: no effect on an agent: set `max_tokens` of its model in models.yaml"
    calls = f"{differently}: the agent's own `llm` calls the tools"
    names = "ignored: Muster tells agents apart by their names"
    notes = [str(note) for note in _load("support", tmp_path).notes]
    assert compaction not in "".join(notes)
    assert notes == [
        f"config/agents.yaml:8:3: triage_agent.max_tokens: {tokens}",
        f"config/agents.yaml:8:3: solver.max_tokens: {tokens}",
        f"config/agents.yaml:9:3: triage_agent.function_calling_llm: {calls}",
        f"config/agents.yaml:9:3: solver.function_calling_llm: {calls}",
        f"config/agents.yaml:11:3: triage_agent.security_config: {names}",
        f"config/agents.yaml:11:3: solver.security_config: {names}",
        f"config/agents.yaml:29:3: solver.respect_context_window: {pages}",
        "config/tasks.yaml:5:3: triage.context: taken as CrewAI does: an empty `context:` means no output is read; "
        "write `context: []` to say so",
    ]


def test_a_newsroom_loads_with_short_and_long_tools(tmp_path: Path) -> None:
    project = _load("newsroom", tmp_path)
    assert project.agents["scout"].tools == [
        ToolUse(name="SerperDevTool"),
        ToolUse(name="ScrapeWebsiteTool", settings={"website_url": "https://example.com/{topic}"}),
    ]
    assert project.tasks["scan"].async_execution
    assert project.tasks["choose"].guardrails == [GuardrailSpec(rule="cited", value=True)]
    assert project.tasks["choose"].context is None
    assert list(crew_inputs(project, "default")) == ["topic", "braces"]
    assert [str(note).partition(": taken")[0] for note in project.notes] == [
        "config/agents.yaml:9:3: scout.max_rpm",
        "config/agents.yaml:10:3: scout.max_retry_limit",
    ]
