"""User Python is read without being run; what it declares is what running it would declare."""

import hashlib
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import muster
from project.code import Scan, code_hashes, crewai_tool_names, read_code
from project.declaration import EFFECTS, KEYWORDS, REPEATS, RETURNS
from project.errors import AppError
from project.load import load_project
from tests.project.folder import AGENTS, complaints, load, write

_ROOT = Path(__file__).resolve().parents[2]
_NOTES = '''\
from muster import ToolContext, tool


@tool(effect="send", repeat="keyed", returns="trusted", private=True, timeout_seconds=20)
def post_note(channel: str, text: str, /*MARK*/ context: ToolContext, quiet: bool = False) -> str:
    """Post a note.

    Returns its address.
    """
    raise RuntimeError("this must never run")
'''.replace("/*MARK*/ ", "")


def _scan(tmp_path: Path, text: str, kind: str = "tool") -> Scan:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "a.py").write_text(text)
    return read_code(tmp_path / "tools", "tools", "tool" if kind == "tool" else "guardrail")


def test_a_declaration_is_read_in_full(tmp_path: Path) -> None:
    scan = _scan(tmp_path, _NOTES)
    note = scan.tools["post_note"]
    assert scan.findings.problems == []
    assert (note.effect, note.repeat, note.returns, note.private) == ("send", "keyed", "trusted", True)
    assert note.timeout_seconds == 20.0
    assert note.doc == "Post a note.\n\nReturns its address."
    assert note.parameters == ("channel", "text", "quiet")
    assert note.required == ("channel", "text")
    assert (note.path, note.line) == ("tools/a.py", 5)


@pytest.mark.parametrize(
    ("effect", "repeat"), [("read", "safe"), ("write", "once"), ("send", "once"), ("spend", "once")]
)
def test_unset_keywords_are_what_the_decorator_makes_of_them(effect: str, repeat: str, tmp_path: Path) -> None:
    text = f'from muster import tool\n\n\n@tool(effect="{effect}")\ndef note(text: str) -> str:\n    """Note."""\n'
    declared = _scan(tmp_path, text).tools["note"]

    @muster.tool(effect=effect)  # type: ignore[arg-type]
    def note(text: str) -> str:
        return text

    said = note.__muster_tool__  # type: ignore[attr-defined]
    assert declared.repeat == said["repeat"] == repeat
    assert (declared.returns, declared.private) == (said["returns"], said["private"])
    assert declared.timeout_seconds == said["timeout_seconds"]


def test_the_keywords_allowed_are_those_of_the_decorator() -> None:
    assert tuple(inspect.signature(muster.tool).parameters) == KEYWORDS
    hints = {name: str(hint) for name, hint in get_type_hints(muster.tool).items()}
    for name, allowed in (("effect", EFFECTS), ("repeat", REPEATS), ("returns", RETURNS)):
        assert all(f"'{word}'" in hints[name] for word in allowed)
        assert hints[name].count("'") == 2 * len(allowed)


def test_the_modules_way_of_naming_the_decorator_does_not_matter(tmp_path: Path) -> None:
    text = (
        "import muster\nimport muster as m\nfrom muster import tool as mark\n"
        '@muster.tool(effect="read")\ndef a() -> str:\n    """A."""\n'
        '@m.tool(effect="read")\ndef b() -> str:\n    """B."""\n'
        '@mark(effect="read")\ndef c() -> str:\n    """C."""\n'
    )
    scan = _scan(tmp_path, text)
    assert list(scan.tools) == ["a", "b", "c"]
    assert scan.findings.problems == []


def test_other_decorators_and_plain_functions_are_left_alone(tmp_path: Path) -> None:
    text = "import functools\n\n\n@functools.cache\ndef helper(x):\n    return x\n\n\ndef other(*a, **k): ...\n"
    scan = _scan(tmp_path, text)
    assert scan.tools == {}
    assert scan.findings.problems == []


def test_an_asynchronous_tool_is_a_tool(tmp_path: Path) -> None:
    text = 'from muster import tool\n\n\n@tool(effect="read")\nasync def note(text: str) -> str:\n    """Note."""\n'
    assert "note" in _scan(tmp_path, text).tools


@pytest.mark.parametrize(
    "text",
    [
        "from crewai.tools import BaseTool\n\n\nclass MyTool(BaseTool):\n    name: str = 'x'\n",
        "from crewai.tools import tool\n\n\n@tool('My tool')\ndef MyTool(x: str) -> str:\n    return x\n",
        "import crewai.tools\n\n\n@crewai.tools.tool\ndef MyTool(x: str) -> str:\n    return x\n",
    ],
)
def test_tools_written_crewais_way_are_taken_with_a_note(text: str, tmp_path: Path) -> None:
    agents = AGENTS.replace("backstory:", "tools: [MyTool]\n  backstory:", 1)
    project = load(write(tmp_path / "project", {"tools/mine.py": text, "config/agents.yaml": agents}))
    assert [use.name for use in project.agents["researcher"].tools] == ["MyTool"]
    (note,) = project.notes
    assert "MyTool: taken as it is, and as one that sends and must not be done twice" in str(note)


def test_tools_of_other_libraries_are_left_out_with_a_note(tmp_path: Path) -> None:
    text = "from langchain.tools import tool\n\n\n@tool\ndef look(x: str) -> str:\n    return x\n"
    (note,) = load(write(tmp_path / "project", {"tools/mine.py": text})).notes
    assert "look: not taken: a tool of another library" in str(note)


def test_a_file_that_would_delete_everything_is_only_read(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = f"open({str(mark)!r}, 'w')\n"
    load(write(tmp_path / "project", {"tools/a.py": text, "guardrails/b.py": text}))
    assert not mark.exists()


@pytest.mark.parametrize(
    "text", ["x = 1\0", "# coding: nonsense\n", "(" * 500, "a." * 5000 + "b\n", "\ud7ff".join("ab")]
)
def test_files_that_no_parser_likes_are_a_problem_or_nothing(text: str, tmp_path: Path) -> None:
    lines = complaints(write(tmp_path / "project", {"tools/a.py": text.encode()}))
    assert all(line.startswith(("tools/a.py:1:", "hint: ")) for line in lines)


def test_a_thousand_branches_are_read(tmp_path: Path) -> None:
    text = "if 0:\n    pass\n" + "elif 1:\n    pass\n" * 800 + "else:\n    x = 1\n"
    assert _scan(tmp_path, text).findings.problems == []


def test_a_file_in_another_encoding_is_read_by_its_own_word(tmp_path: Path) -> None:
    text = (
        '# coding: latin-1\nfrom muster import tool\n\n\n@tool(effect="read")\ndef n() -> str:\n    """Für dich."""\n'
    )
    project = load(write(tmp_path / "project", {"tools/a.py": text.encode("latin-1")}))
    assert project.tools["n"].doc == "Für dich."


def test_a_guardrail_is_declared_by_its_name_and_docstring(tmp_path: Path) -> None:
    text = 'from muster import guardrail\n\n\n@guardrail\ndef polite(text: str) -> str:\n    """Be polite."""\n'
    project = load(write(tmp_path / "project", {"guardrails/tone.py": text}))
    polite = project.guardrails["polite"]
    assert (polite.doc, polite.path, polite.line) == ("Be polite.", "guardrails/tone.py", 5)


def test_the_built_in_tools_of_this_application_are_right() -> None:
    scan = read_code(_ROOT / "tools", "tools", "tool")
    assert [str(problem) for problem in scan.findings.problems] == []
    assert {"search_documents", "read_document", "list_documents"} <= set(scan.tools)


def test_the_application_itself_is_a_project_whose_tools_are_not_read_twice() -> None:
    project = load_project(_ROOT, _ROOT / "tools")
    assert project.tools["search_documents"].path == "tools/search_documents.py"
    assert not any(path.startswith("tools/") for path in code_hashes(_ROOT))


def load_application():
    """Load the checkout as a project."""
    from project.load import load_project

    return load_project(_ROOT, _ROOT / "tools")


def test_hashes_are_those_of_the_files_sorted_by_path(tmp_path: Path) -> None:
    files = {"tools/b.py": "b = 1\n", "tools/a.py": "a = 1\n", "guardrails/c.py": "c = 1\n", "tools/notes.txt": "x"}
    hashes = code_hashes(write(tmp_path / "project", files))
    assert list(hashes) == ["guardrails/c.py", "tools/a.py", "tools/b.py"]
    assert hashes["tools/a.py"] == hashlib.sha256(b"a = 1\n").hexdigest()


def test_a_project_without_python_has_no_hashes(tmp_path: Path) -> None:
    assert code_hashes(write(tmp_path / "project")) == {}


@pytest.mark.skipif(importlib.util.find_spec("crewai_tools") is None, reason="crewai-tools is optional")
def test_names_of_crewai_tools_are_read_without_importing_it() -> None:
    code = (
        "import sys, project.code as c; print('FileReadTool' in c.crewai_tool_names(), 'crewai_tools' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
    names = crewai_tool_names()
    assert {"FileReadTool", "ScrapeWebsiteTool"} <= names
    assert all(name.endswith("Tool") for name in names)


def test_an_unreadable_file_stops_the_hashes_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "project", {"tools/a.py": "a = 1\n"})

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(AppError) as caught:
        code_hashes(root)
    assert str(caught.value) == "tools/a.py:1:1: cannot be read: Permission denied"


_PROBED = '''\
from muster import tool


def was_posted(text: str) -> str | None:
    return None


def unpost(text: str) -> str:
    return "gone"


@tool(effect="send", /*MORE*/)
def post(text: str) -> str:
    """Post."""
    return text
'''


def test_a_probe_and_an_undo_are_read_by_name(tmp_path: Path) -> None:
    more = 'repeat="once", probe=was_posted, undo=unpost, if_unknown="tell", process=False'
    scan = _scan(tmp_path, _PROBED.replace("/*MORE*/", more))
    assert scan.findings.problems == []
    post = scan.tools["post"]
    assert (post.probe, post.undo, post.if_unknown, post.process) == ("was_posted", "unpost", "tell", False)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ('probe="was_posted"', "`probe` must be a function"),
        ("undo=5", "`undo` must be a function"),
        ('if_unknown="guess"', "`if_unknown` must be one of ask, tell; got `'guess'`"),
        ('repeat="safe", probe=was_posted', "`probe` says what becomes of a call that may not be made twice; this one may"),
        ('repeat="safe", if_unknown="ask"', "`if_unknown` says what becomes of a call that may not be made twice; this one may"),
    ],
)  # fmt: skip
def test_what_can_not_be_a_probe_or_an_undo_is_named(more: str, what: str, tmp_path: Path) -> None:
    (problem,) = _scan(tmp_path, _PROBED.replace("/*MORE*/", more)).findings.problems
    assert problem.what == what
