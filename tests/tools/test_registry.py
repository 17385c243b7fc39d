"""Tools and guardrails by name: the built-in ones and the user's, loaded by path."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from project.code import read_code
from project.errors import AppError
from project.spec import ToolUse
from tests.tools.files import context, folder_of
from tools.load import load_functions
from tools.registry import BUILTIN, builtin_tools_folder, is_builtin, load_guardrails, load_tools

CHECKOUT = Path(__file__).resolve().parents[2]


def tool_file(name: str = "greet", body: str = 'return "hello"', before: str = "") -> str:
    function = f'@tool(effect="read")\ndef {name}() -> str:\n    """Do it."""\n    {body}\n'
    return f"from muster import tool\n{before}\n\n{function}"


def called(root: Path, name: str = "greet") -> str:
    return load_tools(root, [ToolUse(name=name)])[name].call({}, context(root))


def problem_of(root: Path, *names: str) -> str:
    with pytest.raises(AppError) as caught:
        load_tools(root, [ToolUse(name=name) for name in names])
    assert caught.value.exit_code == 3
    return "\n".join([str(caught.value), *caught.value.fixes()])


def test_every_tool_file_of_the_room_is_listed_as_built_in() -> None:
    assert set(read_code(builtin_tools_folder(), "tools", "tool").tools) == set(BUILTIN)
    assert all(is_builtin(name) for name in BUILTIN)
    assert not is_builtin("greet")


def test_built_in_tools_are_made_with_their_settings(tmp_path: Path) -> None:
    uses = [ToolUse(name=name, settings={"folder": "x"} if "document" in name else {}) for name in BUILTIN]
    made = load_tools(tmp_path, uses)
    assert list(made) == list(BUILTIN)
    assert all("folder" not in tool.parameters["properties"] for tool in made.values())


def test_a_document_tool_without_its_folder_is_refused(tmp_path: Path) -> None:
    assert problem_of(tmp_path, "search_documents") == (
        "the tool `search_documents` needs `folder`, which no agent may choose\n"
        'write `- search_documents: {folder: "..."}`'
    )


def test_an_unknown_name_comes_with_the_nearest(tmp_path: Path) -> None:
    folder_of(tmp_path, {"tools/mine.py": tool_file()})
    assert "did you mean `calculator`" in problem_of(tmp_path, "calculater")
    assert "did you mean `greet`" in problem_of(tmp_path, "great")


def test_a_users_tool_is_loaded_by_path(tmp_path: Path) -> None:
    folder_of(tmp_path, {"tools/mine.py": tool_file()})
    assert called(tmp_path) == "hello"


def test_a_changed_file_is_loaded_anew_also_when_size_and_time_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = folder_of(tmp_path, {"tools/mine.py": tool_file(body="return '1'")}) / "tools/mine.py"
    before = path.stat()
    assert called(tmp_path) == "1"
    path.write_text(tool_file(body="return '2'"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert called(tmp_path) == "2"
    assert [entry.name for entry in path.parent.iterdir()] == ["mine.py"]


def test_an_unchanged_file_is_run_once(tmp_path: Path) -> None:
    counted = tmp_path / "runs.txt"
    before = f'open({str(counted)!r}, "a").write("x")'
    folder_of(tmp_path, {"tools/mine.py": tool_file(before=before)})
    threads = [threading.Thread(target=called, args=(tmp_path,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted.read_text() == "x"


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    folder_of(
        tmp_path,
        {
            "tools/mine.py": tool_file(body="return shared.WORD", before="import shared"),
            "tools/shared.py": "import other\nWORD = other.word()\n",
            "tools/other.py": "import mine\ndef word() -> str:\n    return 'round and round'\n",
        },
    )
    assert called(tmp_path) == "round and round"
    assert "shared" not in sys.modules


def test_neighbours_of_one_name_in_two_projects_are_kept_apart(tmp_path: Path) -> None:
    mine = tool_file(body="return shared.WORD", before="import shared")
    for word in ("one", "two"):
        folder_of(tmp_path / word, {"tools/mine.py": mine, "tools/shared.py": f"WORD = {word!r}\n"})
    assert [called(tmp_path / word) for word in ("one", "two")] == ["one", "two"]


def test_a_neighbour_hides_no_module_of_ours(tmp_path: Path) -> None:
    files = {"tools/mine.py": tool_file(body="return json.dumps(1)", before="import json"), "tools/json.py": "x = 1\n"}
    assert called(folder_of(tmp_path, files)) == "1"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\n\n1 / 0\n", "tools/bad.py:3:1: can't be loaded: ZeroDivisionError: division by zero"),
        ("def f():\n    raise KeyError('x')\nf()\n", "tools/bad.py:2:1: can't be loaded: KeyError: 'x'"),
        ("x = (\n", "tools/bad.py:1:1: can't be loaded: SyntaxError: '(' was never closed (bad.py, line 1)"),
        ("import sys\nsys.exit('bye')\n", "tools/bad.py:2:1: can't be loaded: SystemExit: bye"),
        ("import not_there\n", "tools/bad.py:1:1: can't be loaded: ModuleNotFoundError: No module named 'not_there'"),
    ],
)
def test_a_file_that_fails_is_named_with_the_line_that_failed(tmp_path: Path, source: str, said: str) -> None:
    folder_of(tmp_path, {"tools/bad.py": source})
    assert problem_of(tmp_path, "greet").splitlines()[0] == said


def test_a_neighbour_that_fails_is_the_one_that_is_named(tmp_path: Path) -> None:
    folder_of(tmp_path, {"tools/a.py": "import zz\n", "tools/zz.py": "\n1 / 0\n"})
    assert problem_of(tmp_path, "greet").startswith("tools/zz.py:2:1: can't be loaded: ZeroDivisionError")


def test_a_file_is_loaded_again_once_it_is_mended(tmp_path: Path) -> None:
    path = folder_of(tmp_path, {"tools/mine.py": "1 / 0\n"}) / "tools/mine.py"
    problem_of(tmp_path, "greet")
    path.write_text(tool_file())
    assert called(tmp_path) == "hello"


def test_a_tool_called_like_a_built_in_one_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, {"tools/mine.py": tool_file("calculator"), "tools/other.py": tool_file()})
    assert problem_of(tmp_path, "greet").startswith(
        "tools/mine.py:4:1: calculator: `calculator` is the name of a built-in tool"
    )


def test_a_name_taken_twice_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, {"tools/a.py": tool_file(), "tools/b.py": tool_file()})
    assert "tools/b.py:4:1: greet: a second function of this name; the first is in tools/a.py" in problem_of(
        tmp_path, "greet"
    )


def test_types_of_a_user_file_are_found(tmp_path: Path) -> None:
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom muster import tool\n\n"
        "@dataclass\nclass Spot:\n    x: int\n\n"
        '@tool(effect="read")\ndef look(spot: Spot) -> str:\n    """Look."""\n    return str(spot.x)\n'
    )
    root = folder_of(tmp_path, {"tools/mine.py": source})
    assert load_tools(root, [ToolUse(name="look")])["look"].call({"spot": {"x": 4}}, context(root)) == "4"


def test_a_tool_that_is_only_imported_is_not_declared_twice(tmp_path: Path) -> None:
    files = {"tools/a.py": tool_file(), "tools/b.py": "from a import greet\n"}
    assert called(folder_of(tmp_path, files)) == "hello"


def test_a_tool_put_into_a_checkout_is_found_and_its_room_is_not_run_twice(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from muster import ToolContext\n"
        "from project.spec import ToolUse; from tools.registry import load_tools\n"
        "root = Path('.').resolve()\n"
        "print(load_tools(root, [ToolUse(name='greet')])['greet'].call({}, ToolContext(root, root)))\n"
        "print([name for name in sys.modules if name.startswith('_muster')].__len__())\n"
    )
    for room in ("project", "tools"):
        for path in (CHECKOUT / room).glob("*.py"):
            folder_of(tmp_path, {f"{room}/{path.name}": path.read_bytes()})
    folder_of(tmp_path, {"muster.py": (CHECKOUT / "muster.py").read_bytes(), "tools/mine.py": tool_file()})
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("hello\n1\n", "")


def test_guardrails_are_loaded_by_name(tmp_path: Path) -> None:
    check = 'def polite(text: str) -> str:\n    return "" if "please" in text else "rude"\n'
    source = f"from muster import guardrail\n\n@guardrail\n{check}"
    assert load_guardrails(tmp_path) == {}
    found = load_guardrails(folder_of(tmp_path, {"guardrails/mine.py": source}))
    assert {name: check("now") for name, check in found.items()} == {"polite": "rude"}


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert load_functions(tmp_path / "none", "__muster_tool__") == {}


def test_the_registry_starts_without_what_only_some_documents_need() -> None:
    heavy = "bs4 pypdf docx lxml crewai crewai_tools dbos"
    script = f"import sys, tools.registry; print([name for name in '{heavy}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
