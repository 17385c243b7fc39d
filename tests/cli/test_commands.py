"""Every command in this process: exit codes, and what is printed where, in full."""

import json

import pytest

import muster as library
from tests.cli.conftest import Muster
from tests.lab import Lab
from tests.runs.scene import write_project
from tests.scripted_server import ScriptedServer

TWO = {"first": "@answer: one", "second": "@answer: two {topic}"}


@pytest.fixture
def project(lab: Lab, server: ScriptedServer) -> Lab:
    write_project(lab, TWO)
    lab.models(server.base_url)
    return lab


def test_the_version_is_that_of_the_package(muster: Muster) -> None:
    printed = muster("--version")
    assert (printed.code, printed.out, printed.err) == (0, f"muster {library.__version__}\n", "")


def test_help_names_every_command(muster: Muster) -> None:
    printed = muster("--help")
    assert printed.code == 0
    assert printed.out.startswith("Usage: muster [OPTIONS] COMMAND [ARGS]...\n")
    listed = [line.split()[0] for line in printed.out.partition("Commands:\n")[2].splitlines() if line[2:3].strip()]
    assert listed == [
        *("run", "check", "plan", "new", "agents", "crews", "tools", "models", "doctor", "blame", "serve", "worker"),
        *("runs", "schedule", "approvals", "policy", "audit"),
    ]


def test_check_counts_what_is_there(muster: Muster, project: Lab) -> None:
    printed = muster("check")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out == f"ok: 1 agent, 2 tasks, 1 crew, 1 model in {project.root}\n"
    assert json.loads(muster("check", "--json").out) == {
        "project": str(project.root),
        "crews": ["default"],
        "notes": [],
    }


def test_check_says_everything_that_is_wrong_with_file_line_and_column(muster: Muster, project: Lab) -> None:
    project.write(agents="worker:\n  role: Worker\n  gaol: Do\n  backstory: You work.\n")
    printed = muster("check")
    assert (printed.code, printed.out) == (3, "")
    lines = printed.err.splitlines()
    assert lines[0].startswith("config/agents.yaml:1:1: worker.goal: ")
    assert any(line.startswith("config/agents.yaml:3:3: worker.gaol: ") for line in lines)
    assert any(line.startswith("hint: ") and "`goal`" in line for line in lines)


def test_wrong_yaml_stops_a_run_before_anything_happens(muster: Muster, project: Lab) -> None:
    project.write(tasks="work: [")
    printed = muster("run", "default")
    assert (printed.code, printed.out) == (3, "")
    assert printed.err.startswith("config/tasks.yaml:1:")
    assert not (project.root / ".muster").exists()


def test_without_a_project_it_says_how_to_make_one(muster: Muster, lab: Lab) -> None:
    printed = muster("check")
    assert (printed.code, printed.out) == (3, "")
    assert printed.err == (
        f"no project in {lab.root} or any folder above it: config/agents.yaml is not there\n\n"
        "hint: `muster new DIR` makes a project; --project DIR names one elsewhere\n"
    )


def test_plan_shows_what_a_run_would_do(muster: Muster, project: Lab) -> None:
    printed = muster("plan", "default", "-i", "topic=sun")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out == (
        "crew default\n"
        "  input topic (text, required)\n"
        "  ceilings none\n"
        "  model default: openai/scripted (default in models.yaml)\n"
        "\n"
        "WAVE  TASK    AGENT   MODEL            TOOLS  READS  CHECKS\n"
        "1     first   worker  openai/scripted  –      –      –\n"
        "2     second  worker  openai/scripted  –      first  –\n"
        "\n"
        "Tasks of one wave run side by side.\n"
    )


def test_plan_names_the_inputs_that_are_missing(muster: Muster, project: Lab) -> None:
    printed = muster("plan", "default")
    assert (printed.code, printed.err) == (0, "input 'topic' must be given: -i topic=...\n")
    found = json.loads(muster("plan", "default", "--json").out)
    assert found["missing_inputs"] == ["topic"]
    assert found["tasks"][1]["needs"] == ["first"]


def test_the_lists_show_what_the_project_has(muster: Muster, project: Lab, server: ScriptedServer) -> None:
    assert muster("agents").out == "AGENT   ROLE    MODEL    TOOLS\nworker  Worker  default  –\n"
    assert muster("crews").out == ("CREW     INPUTS  TASKS           WHAT FOR\ndefault  topic   first → second\n")
    assert muster("models").out == (
        "NAME     MODEL            KEY                        SERVER\n"
        f"default  openai/scripted  OPENAI_API_KEY is not set  {server.base_url}\n"
    )
    tools = json.loads(muster("tools", "--json").out)
    assert {"calculator", "list_documents", "read_document", "search_documents", "write_file"} <= set(tools["tools"])
    assert "FileReadTool" in tools["crewai_tools"]


def test_one_agent_is_shown_in_full(muster: Muster, project: Lab) -> None:
    printed = muster("agents", "worker")
    assert printed.out.splitlines()[:4] == ["worker", "  role: Worker", "  goal: Do the work", "  backstory: You work."]
    wrong = muster("agents", "nobody")
    assert (wrong.code, wrong.err) == (3, "unknown agent 'nobody'\n\nhint: one of: worker\n")


def test_doctor_tells_what_there_is(muster: Muster, project: Lab) -> None:
    found = {item["what"]: item for item in json.loads(muster("doctor", "--json").out)}
    assert {"python", "crewai", "dbos", "sqlite", "project", "model", "state folder"} <= set(found)
    assert found["project"] == {"what": "project", "ok": True, "detail": f"{project.root}: 1 crews"}


def test_doctor_looks_at_a_broken_project_without_failing(muster: Muster, project: Lab) -> None:
    project.write(tasks="work: [")
    printed = muster("doctor")
    assert printed.code == 0
    assert "look  project: 1 problems; `muster check` shows them: config/tasks.yaml:1:" in printed.out


def test_new_makes_a_project_that_passes_check(muster: Muster, lab: Lab) -> None:
    printed = muster("new", "made")
    assert (printed.code, printed.out) == (0, "made\n")
    assert printed.err.startswith("try: cd made && muster run brief -i topic=")
    assert (lab.root / "made" / ".gitignore").read_text() == ".muster/\n.env\noutput/\n"
    checked = muster("check", "--project", "made")
    assert (checked.code, checked.err) == (0, "")


def test_new_leaves_a_folder_with_something_in_it_alone(muster: Muster, lab: Lab) -> None:
    (lab.root / "there").mkdir()
    (lab.root / "there" / "file").write_text("mine")
    printed = muster("new", "there")
    assert (printed.code, printed.out) == (2, "")
    assert printed.err == "there is there already and not an empty folder\n\nhint: choose another name\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Error: Missing argument 'crew'."),
        (["run", "default", "--nope"], "Error: No such option: --nope"),
        (["frobnicate"], "Error: No such command 'frobnicate'."),
        (["run", "default", "-i", "topic"], "-i takes KEY=VALUE, got 'topic'"),
        (["run", "default", "-i", "topic=a", "-i", "topic=b"], "input 'topic' is given twice"),
        (["run", "default", "-i", "topic=a", "--max-usd", "much"], "--max-usd takes a number, got 'much'"),
        (["run", "default", "-i", "topic=a", "--max-usd", "nan"], "--max-usd must be a number >= 0, got 'nan'"),
        (["run", "default", "-i", "topic=a", "--max-tokens", "-5"], "--max-tokens must be > 0, got -5"),
        (["run", "default", "-i", "topic=a", "--max-seconds", "0"], "--max-seconds must be > 0, got 0.0"),
        (["run", "default", "-i", "topic=a", "--inputs", "nowhere.yaml"], "--inputs nowhere.yaml: can't be read: "),
        (["run", "default", "-i", "topic=a", "--id", "a b"], "'a b' can't be a run id"),
    ],
)
def test_a_wrong_command_line_is_told_with_exit_code_2(
    muster: Muster, project: Lab, arguments: list[str], said: str
) -> None:
    printed = muster(*arguments)
    assert (printed.code, printed.out) == (2, "")
    assert said in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "defualt"], "unknown crew `defualt`\n\nhint: did you mean `default`"),
        (["run", "default"], "input `topic` is missing\n\nhint: give it by -i topic=TEXT\n"),
        (["run", "default", "-i", "topic=a", "-i", "b=c"], "unknown input `b`"),
        (
            ["run", "default", "-i", "topic=a", "--model", "nope"],
            "unknown model 'nope'\n\nhint: one of: default, offline",
        ),
    ],
)
def test_what_the_configuration_does_not_have_is_told_with_exit_code_3(
    muster: Muster, project: Lab, arguments: list[str], said: str
) -> None:
    printed = muster(*arguments)
    assert (printed.code, printed.out) == (3, "")
    assert printed.err.startswith(said)


def test_a_run_prints_its_result_and_the_same_id_prints_it_again(
    muster: Muster, project: Lab, server: ScriptedServer
) -> None:
    arguments = ("run", "default", "-i", "topic=sun", "--id", "mine")
    assert muster(*arguments).out == "two sun\n"
    again = muster(*arguments)
    assert (again.code, again.out, again.err) == (0, "two sun\n", "")
    assert server.stats()["attempts"] == 2
    other = muster("run", "default", "-i", "topic=moon", "--id", "mine")
    assert (other.code, other.err) == (
        2,
        "run mine has another crew or other inputs\n\nhint: choose another --id\n",
    )


def test_json_is_one_document_and_silences_the_rest(muster: Muster, project: Lab) -> None:
    printed = muster("run", "default", "-i", "topic=sun", "--json")
    assert (printed.code, printed.err) == (0, "")
    found = json.loads(printed.out)
    assert (found["status"], found["output"]) == ("succeeded", "two sun")


def test_quiet_says_nothing_but_the_result(muster: Muster, project: Lab) -> None:
    printed = muster("run", "default", "-i", "topic=sun", "-q")
    assert (printed.code, printed.out, printed.err) == (0, "two sun\n", "")


def test_a_run_stopped_at_a_ceiling_is_resumed_with_a_higher_one(muster: Muster, project: Lab) -> None:
    stopped = muster("run", "default", "-i", "topic=sun", "--id", "low", "--max-model-calls", "1")
    assert (stopped.code, stopped.out) == (1, "")
    assert stopped.err.splitlines()[-3:] == [
        f"done: first; what they gave lies in {project.root}/.muster/runs/low/outputs",
        "run low stopped at a ceiling: second: max_model_calls: 1 of 1 used; raise it with --max-model-calls or "
        "`budget:` in crews.yaml",
        "hint: `muster runs resume low --add-budget model_calls=10` goes on; what is done is kept and not paid again",
    ]
    assert muster("runs", "resume", "low").code == 1
    resumed = muster("runs", "resume", "low", "--max-model-calls", "2")
    assert (resumed.code, resumed.out) == (0, "two sun\n")
    assert "first (worker): done, from the journal" in resumed.err


def test_a_run_that_needs_a_person_waits_with_exit_code_4(muster: Muster, project: Lab) -> None:
    write_project(project, {"work": {"description": "@answer: one", "human_input": True}})
    printed = muster("run", "default", "--id", "asks")
    assert (printed.code, printed.out) == (4, "")
    (asked,) = json.loads(muster("approvals", "list", "--json").out)
    assert printed.err.splitlines()[-3:] == [
        "run asks waits: work: a person is asked about the output of work",
        f"hint: `muster approvals show {asked['question_id']}` tells how to answer; `muster runs resume asks` then goes on",
        "hint: `muster runs resume asks` at a terminal asks again; what is done is kept and not paid again",
    ]
    assert json.loads(muster("runs", "list", "--json").out)[0]["status"] == "waiting"


def test_a_failed_run_says_why_and_how_to_go_on(muster: Muster, project: Lab, server: ScriptedServer) -> None:
    server.configure(faults=[{"fault": "401"}])
    printed = muster("run", "default", "-i", "topic=sun", "--id", "keyless", "-q")
    assert (printed.code, printed.out) == (1, "")
    assert printed.err == (
        "run keyless failed: first: the model 'default' did not answer: the provider refused the key (401): Incorrect "
        "API key provided\nhint: check OPENAI_API_KEY in the environment or .env\n"
    )


def test_trace_shows_retries_and_their_reasons(muster: Muster, project: Lab, server: ScriptedServer) -> None:
    server.configure(faults=[{"fault": "429-ms", "attempts": [1]}], retry_after_seconds=0.01)
    muster("run", "default", "-i", "topic=sun", "--id", "traced")
    rows = [line.split("  ") for line in muster("runs", "trace", "traced").out.splitlines()]
    shown = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert shown[0] == ["AT (s)", "STEP", "TOOK", "COST", "WHAT"]
    assert [row[1] for row in shown[1:4]] == [
        "first/worker/model#1",
        "first/worker/backoff#1.1",
        "first/worker/model#1.2",
    ]
    assert shown[1][-1] == "rate_limit: 429: Rate limit reached"
    assert shown[2][-1] == "waited 0.01 s: 429: Rate limit reached"
    assert shown[3][-1].endswith(" tokens: one")
    steps = json.loads(muster("runs", "trace", "traced", "--json").out)
    assert steps[0]["record"]["error"]["kind"] == "rate_limit"


def test_show_costs_and_watch_tell_of_a_finished_run(muster: Muster, project: Lab) -> None:
    muster("run", "default", "-i", "topic=sun", "--id", "told")
    shown = muster("runs", "show", "tol").out
    assert "run      told\n" in shown
    assert "state    succeeded\n" in shown
    assert shown.endswith("result\n\ntwo sun\n")
    assert muster("runs", "costs", "told").out.endswith("in all: unknown\n")
    watched = muster("runs", "watch", "told").out.splitlines()
    assert [line.split("  ")[0] for line in watched] == [
        "first/worker/model#1",
        "second/worker/model#1",
        "run told succeeded",
    ]
    lines = [json.loads(line) for line in muster("runs", "watch", "told", "--json").out.splitlines()]
    assert lines[-1] == {"run_id": "told", "status": "succeeded", "reason": ""}


def test_runs_without_any_says_how_to_start_one(muster: Muster, project: Lab) -> None:
    printed = muster("runs")
    assert (printed.code, printed.out, printed.err) == (0, "", "no runs yet; `muster run CREW` starts one\n")
    missing = muster("runs", "show", "x")
    assert (missing.code, missing.err) == (
        1,
        "there is no run 'x'\n\nhint: none was started in this project yet\n",
    )


def test_an_offline_run_says_so(muster: Muster, project: Lab) -> None:
    write_project(project, {"work": "Say what durable execution is"})
    printed = muster("run", "default", "--model", "offline", "--id", "alone")
    assert printed.code == 0
    assert "Offline mode: no language model is configured." in printed.err
    assert "succeeded (offline)" in muster("runs").out


def test_a_bug_is_told_in_one_line_with_exit_code_70(
    muster: Muster, project: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("project.load.load_project", broken)
    printed = muster("check")
    assert (printed.code, printed.out) == (70, "")
    assert printed.err.startswith("unexpected RuntimeError: boom\nthis is a bug of Muster; the traceback is in ")
    assert len(printed.err.splitlines()) == 2
