"""The tool `run_python`: what code gives, what goes wrong in it, and that it gets nowhere."""

import builtins
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sandbox as sandbox_benchmark
from benchmarks.sandbox import ATTEMPTS, SANDBOXES, Surroundings, attempt, is_there, surroundings
from project.spec import ToolUse
from tests.tools.files import context
from tools import sandbox_bubblewrap
from tools.registry import load_tools
from tools.run_python import run_python

_MISSING = {name: is_there(name) for name in SANDBOXES}
pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")
BUBBLEWRAP = pytest.mark.skipif(bool(_MISSING["bubblewrap"]), reason=_MISSING["bubblewrap"] or "it is there")


@pytest.fixture(params=["monty", pytest.param("bubblewrap", marks=BUBBLEWRAP)])
def sandbox(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def around() -> Iterator[Surroundings]:
    with surroundings() as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox_benchmark, "SECONDS", 0.6)
        patch.setattr(sandbox_benchmark, "LONGEST_PAUSE_SECONDS", 5.0)  # other tests are at work beside this one
        yield made


def test_the_usual_sandbox_works_wherever_the_tests_run() -> None:
    assert _MISSING["monty"] == ""


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("1 + 1", "2"),
        ("print('a')\nprint('b')\n[1, 'x']  # the value", "a\nb\n[1, 'x']"),
        ("x = 3", "(nothing was printed, and the last line has no value)"),
        ("None", "(nothing was printed, and the last line has no value)"),
        ("", "(nothing was printed, and the last line has no value)"),
        ("(1 +\n 2)", "3"),
        ("'ä'; ('ö') # ü", "'ö'"),
        ("import json, re, math\njson.dumps({'a': math.floor(2.5)})", "'{\"a\": 2}'"),
        ("def f(n):\n    return 1 if n < 2 else n * f(n - 1)\nf(20)", "2432902008176640000"),
        ("1/0", "line 1: ZeroDivisionError: division by zero"),
        ("print('before')\n\ndef f():\n    return [][1]\nf()", "before\nline 4: IndexError: list index out of range"),
        ("x = (", "line 1: SyntaxError: '(' was never closed"),
        ("import no_such_module", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("print('half \ud800')", "the code is nested too deeply, or holds characters that no program may"),
    ],
)
def test_code_gives_what_it_prints_and_its_last_value(sandbox: Any, code: str, result: str) -> None:
    assert run_python(code, sandbox=sandbox) == result


def test_nothing_stays_from_one_call_to_the_next(sandbox: Any) -> None:
    run_python("x = 1", sandbox=sandbox)
    assert run_python("x", sandbox=sandbox) == "line 1: NameError: name 'x' is not defined"


def test_code_that_takes_too_long_is_ended_and_told_so(sandbox: Any) -> None:
    told = run_python("print('so far', flush=True)\nwhile True: pass", sandbox=sandbox, timeout_seconds=0.5)
    assert told == "so far\n[ended: it took longer than 0.5 s]"


def test_output_is_cut(sandbox: Any) -> None:
    told = run_python("for n in range(30_000): print('x' * 9)", sandbox=sandbox)
    assert told.startswith("xxxxxxxxx\nxxxxxxxxx\n")
    assert told.endswith("x\n[ended: more than 20000 characters were printed; the first are shown]")
    assert len(told) < 20_100


def test_memory_is_limited_as_yaml_says(sandbox: Any) -> None:
    code = "x = 'a' * 150_000_000\nlen(x)"
    assert "MemoryError" in run_python(code, sandbox=sandbox)
    assert run_python(code, sandbox=sandbox, memory_mb=500) == "150000000"


def test_calls_side_by_side_do_not_meet(sandbox: Any) -> None:
    found: dict[int, str] = {}

    def call(number: int) -> None:
        found[number] = run_python(f"n = {number}\nsum(n for _ in range(10_000))", sandbox=sandbox, timeout_seconds=20)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: str(number * 10_000) for number in range(6)}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_code_gets_nowhere(around: Surroundings, sandbox: Any, name: str) -> None:
    tried = attempt(name, sandbox, around)
    assert (tried.escaped, bool(tried.said)) == ("", True)


def test_an_escape_would_be_noticed(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_to_all(code: str, **_: Any) -> str:
        printed: list[str] = []
        names = {"print": lambda *said: printed.append(" ".join(map(str, said)))}
        try:
            exec(code, names)
        except Exception as error:
            return f"{printed} {error}"
        return "\n".join(printed)

    monkeypatch.setattr("benchmarks.sandbox.run_python", open_to_all)
    names = ["read /etc/passwd", "read the state folder", "environment", "connect", "write outside", "subprocess"]
    names += ["the open file by its number", "an abstract socket", "__import__"]
    assert [name for name in names if not attempt(name, "monty", around).escaped] == []
    left: list[subprocess.Popen[bytes]] = []

    def leave(*_: Any, **_more: Any) -> str:
        left.append(subprocess.Popen([sys.executable, "-c", "RLIMIT_NPROC = 0; import time; time.sleep(60)"]))
        return "done"

    monkeypatch.setattr("benchmarks.sandbox.run_python", leave)
    assert "left processes" in attempt("exit", "monty", around).escaped
    left[0].kill()
    left[0].wait()
    for path in (around.folder / "outside").iterdir():
        path.unlink()
    around.seen.clear()


def test_the_model_sets_the_code_alone(tmp_path: Path) -> None:
    use = ToolUse(name="run_python", settings={"timeout_seconds": 0.5, "memory_mb": 100})
    tool = load_tools(tmp_path, [use])["run_python"]
    assert list(tool.parameters["properties"]) == ["code"]
    assert (tool.effect, tool.repeat, tool.returns) == ("read", "safe", "untrusted")
    assert tool.call({"code": "while True: pass"}, context(tmp_path)) == "[ended: it took longer than 0.5 s]"
    assert tool.check({"code": "1", "sandbox": "bubblewrap"}) == ["unknown argument `sandbox`; the tool takes: code"]


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without(name: str, *more: Any, **named: Any) -> Any:
        if name == "pydantic_monty":
            raise ImportError(name)
        return usual(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"`pip install pydantic-monty==1\.4\.0`, or install Muster with its extra"):
        run_python("1")


def test_a_machine_without_bubblewrap_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match=r"needs bubblewrap, .*; `sandbox: monty` works everywhere"):
        run_python("1", sandbox="bubblewrap")


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is for Linux")
def test_a_machine_without_user_namespaces_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setattr(sandbox_bubblewrap.shutil, "which", lambda _name: str(tmp_path / "bwrap"))
    monkeypatch.setattr(sandbox_bubblewrap.os, "geteuid", lambda: 1000)
    with pytest.raises(ValueError, match=r"user namespaces, .*\(bwrap: No permissions to create new namespace\)"):
        run_python("1", sandbox="bubblewrap")
