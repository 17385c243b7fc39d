"""`muster blame`: which file, which lines, what is printed."""

import json
from collections.abc import Callable

import pytest

import main
from cli.blame import blame
from tests.cli.conftest import Muster, Printed
from tests.lab import Lab
from tests.runs.scene import crash_after, tool_file, write_project
from tests.scripted_server import ScriptedServer

SUN = "The sun gives 173000 terawatts to the earth without a break."
MADE_UP = "Everybody should therefore buy three large panels."
WORK = f'@call note {{"text": "sun"}}\n@answer:\n# Sun\n\n{SUN}\n{MADE_UP}\n@end'
WRITTEN = f"# Sun\n\n{SUN}\n{MADE_UP}\n"
Blame = Callable[..., Printed]


@pytest.fixture
def blamed(muster: Muster, monkeypatch: pytest.MonkeyPatch) -> Blame:
    """Call `muster blame`."""
    if all(command.name != "blame" for command in main.app.registered_commands):
        monkeypatch.setattr(main.app, "registered_commands", [*main.app.registered_commands])
        main.app.command("blame")(blame)
    return lambda *arguments: muster("blame", *arguments)


@pytest.fixture
def project(lab: Lab, server: ScriptedServer) -> Lab:
    """A project with one run, `one`, that wrote out/sun.md."""
    lab.write(tools__note_py=tool_file(f"return {SUN!r}", 'effect="read", repeat="safe"', 'text: str = ""'))
    work = {"description": WORK, "output_file": "out/sun.md", "guardrails": [{"words": 90}]}
    write_project(lab, {"work": work}, {"tools": ["note"]})
    lab.models(server.base_url)
    assert lab.run(run_id="one").status == "succeeded"
    return lab


STORY = f"""\
1  # Sun
    written by   worker in task work (openai/scripted)
    from         the model alone: no tool result says this
    reviewed by  rules in task work, passed: words
3  {SUN}
    written by   worker in task work (openai/scripted)
    from         word for word: work/worker/note#1 {{"text": "sun"}}
    reviewed by  the same
4  {MADE_UP}
    written by   worker in task work (openai/scripted)
    from         the model alone: no tool result says this
    reviewed by  the same
"""


def test_each_line_of_a_file_is_explained(blamed: Blame, project: Lab) -> None:
    printed = blamed("out/sun.md")
    assert (printed.code, printed.err) == (0, "out/sun.md: written by run one, task work\n")
    assert printed.out == STORY


def test_a_line_or_a_span_is_picked(blamed: Blame, project: Lab) -> None:
    assert blamed("out/sun.md:3").out.splitlines()[0] == f"3  {SUN}"
    picked = json.loads(blamed("out/sun.md:2-4", "--json").out)
    assert [(entry["line"], entry["origin"]) for entry in picked] == [(3, "tool"), (4, "model")]
    assert set(picked[0]) == {
        *("line", "text", "task", "agent", "model", "origin", "match", "steps", "reviewed_by", "changed"),
        *("reworded_from", "unsupported"),
    }


def test_a_line_that_was_added_by_hand_is_told_as_changed(blamed: Blame, project: Lab) -> None:
    (project.root / "out" / "sun.md").write_text(f"Forged.\nForged, too.\n{WRITTEN}")
    printed = blamed("out/sun.md")
    assert printed.err == "out/sun.md: written by run one, task work; 2 of the lines shown changed since\n"
    assert printed.out.splitlines()[:3] == ["1-2  Forged.", "    changed since the run by somebody else", "3  # Sun"]


def test_a_name_with_colons_is_taken_whole_where_it_is_a_file(blamed: Blame, project: Lab) -> None:
    work = {"description": WORK, "output_file": "{name}.md"}
    odd = {"description": "@answer: Only one line stands here", "output_file": "{name}"}
    write_project(project, {"work": work, "odd": odd}, {"tools": ["note"]})
    assert project.run(run_id="two", inputs={"name": "at 10:30"}).status == "succeeded"
    assert blamed("at 10:30").err == "at 10:30: written by run two, task odd\n"
    assert blamed("at 10:30:1").out.startswith("1  Only one line stands here\n")
    assert blamed("at 10:30.md:4").out.startswith(f"4  {MADE_UP}\n")


def test_the_run_that_wrote_a_file_last_is_the_one_that_is_asked(blamed: Blame, project: Lab) -> None:
    assert project.run(run_id="two").status == "succeeded"
    assert blamed("out/sun.md").err.startswith("out/sun.md: written by run two,")
    assert blamed("out/sun.md", "--run", "one").err.startswith("out/sun.md: written by run one,")


def test_a_task_the_result_and_what_was_printed_can_be_asked_about(blamed: Blame, project: Lab) -> None:
    (project.root / "printed.md").write_text(WRITTEN)
    kept = ".muster/runs/one/outputs/work.md"
    for arguments in (["work", "--run", "one"], ["result", "--run", "one"], ["printed.md"], [kept]):
        assert blamed(*arguments).out == STORY, arguments
    (project.root / "printed.md").write_text(f"{WRITTEN}and more")
    assert blamed("printed.md", "--run", "one").out.endswith("somebody else\n")


def test_a_file_that_is_gone_is_explained_from_the_journal(blamed: Blame, project: Lab) -> None:
    (project.root / "out" / "sun.md").unlink()
    assert blamed("out/sun.md").out == STORY


def test_a_file_of_a_run_that_died_after_writing_it_is_explained(blamed: Blame, project: Lab) -> None:
    assert project.run(run_id="two").status == "succeeded"
    steps = project.steps("two")
    assert [step.kind for step in steps][-1] == "file"
    crash_after(project, "two", "work", len(steps))
    for arguments in (["out/sun.md"], ["out/sun.md", "--run", "two"], ["work", "--run", "two"]):
        printed = blamed(*arguments)
        assert (printed.code, printed.out) == (0, STORY), arguments
        assert "written by run two, task work" in printed.err


def test_a_file_that_no_run_wrote_is_an_error_with_a_fix(blamed: Blame, project: Lab) -> None:
    (project.root / "mine.md").write_text("mine\n")
    printed = blamed("mine.md")
    assert (printed.code, printed.out) == (1, "")
    assert printed.err == (
        "no run of this project wrote 'mine.md'\n\n"
        "hint: `muster runs list` names the runs; --run ID with a task's name asks about its output\n"
    )
    named = blamed("mine.md", "--run", "one")
    assert (named.code, named.err) == (1, "run one wrote no 'mine.md'\n\nhint: one of: out/sun.md, work\n")


@pytest.mark.parametrize(
    ("file", "code", "error"),
    [
        ("out/sun.md:9", 1, "out/sun.md has 4 lines\n\nhint: name a line that is there\n"),
        ("out/sun.md:0", 2, "0-0 are no lines\n\nhint: lines count from 1: FILE:12 or FILE:12-20\n"),
        ("out/sun.md:4-2", 2, "4-2 are no lines\n\nhint: lines count from 1: FILE:12 or FILE:12-20\n"),
    ],
)
def test_lines_that_are_not_there_are_refused(blamed: Blame, project: Lab, file: str, code: int, error: str) -> None:
    printed = blamed(file)
    assert (printed.code, printed.out, printed.err) == (code, "", error)


def test_before_the_first_run_it_says_so(blamed: Blame, lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"work": "@answer: one"})
    printed = blamed("out.md")
    assert (printed.code, printed.err) == (
        1,
        "no run wrote 'out.md'\n\nhint: no run was started in this project yet\n",
    )
