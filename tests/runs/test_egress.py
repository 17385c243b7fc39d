"""A project's own tools are kept to the domains that policy.yaml names for them: real processes, a real server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from muster import ToolContext
from project.spec import ToolUse
from runs.calls import tool_hosts
from runs.calls.tool_hosts import FunctionFailed, call_tool
from runs.repair.rollback import find_undos, roll_back
from tests.lab import Lab
from tests.runs.scene import write_project
from tools.registry import load_tools

TRY = '''
import asyncio, ctypes, http.client, multiprocessing, os, socket, subprocess, threading, urllib.request
import httpx
from muster import tool

{more}

@tool(effect="read")
def attempt(host: str, port: int) -> str:
    """Try something."""
    {body}


@tool(effect="read", process=False)
def beside(host: str, port: int) -> str:
    """Try something in Muster's own process."""
    return "reached"


@tool(effect="read")
def other(host: str, port: int) -> str:
    """Read what is there."""
    with socket.create_connection((host, port), 2) as connection:
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        return connection.makefile().read().rpartition("\\n")[2]
'''
REACH = {
    "create_connection": 'socket.create_connection((host, port), 2).close(); return "reached"',
    "urllib": 'return urllib.request.urlopen(f"http://{host}:{port}/", timeout=2).read().decode()',
    "http.client": 'it = http.client.HTTPConnection(host, port, timeout=2); it.request("GET", "/"); '
    "return it.getresponse().read().decode()",
    "httpx": 'return httpx.get(f"http://{host}:{port}/", trust_env=False).text',
    "asyncio": "async def go():\n        _, w = await asyncio.open_connection(host, port)\n        w.close()\n"
    '        return "reached"\n    return asyncio.run(go())',
    "gethostbyname": 'socket.create_connection((socket.gethostbyname(host), port), 2).close(); return "reached"',
    "thread": "said = []\n    def go():\n        try:\n"
    '            socket.create_connection((host, port), 2).close(); said.append("reached")\n'
    "        except OSError as error: said.append(str(error))\n"
    "    one = threading.Thread(target=go); one.start(); one.join(); return said[0]",
}
AROUND = {
    "an address": 'socket.create_connection(("127.0.0.1", port), 2); return "reached"',
    "a bare connect": 's = socket.socket(); s.connect(("127.0.0.1", port)); return "reached"',
    "connect_ex": 's = socket.socket(); return "reached" if s.connect_ex(("127.0.0.1", port)) == 0 else "no"',
    "a connect to a name": 's = socket.socket(); s.connect(("localhost", port)); return "reached"',
    "a mapped address": 's = socket.socket(socket.AF_INET6); s.connect(("::ffff:127.0.0.1", port)); return "reached"',
    "a decimal address": 'socket.create_connection(("2130706433", port), 2); return "reached"',
    "a datagram": 's = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b"x", ("127.0.0.1", port)); return "reached"',
    "a datagram message": "s = socket.socket(type=socket.SOCK_DGRAM); "
    's.sendmsg([b"x"], [], 0, ("127.0.0.1", port)); return "reached"',
    "a local socket": 's = socket.socket(socket.AF_UNIX); s.connect("/tmp/none"); return "reached"',
    "the metadata address": 'socket.create_connection(("169.254.169.254", 80), 1); return "reached"',
    "a reverse look-up": 'socket.gethostbyaddr("127.0.0.1"); return "reached"',
    "a program": 'subprocess.run(["true"]); return "reached"',
    "a shell": 'os.system("true"); return "reached"',
    "a fork": 'os.fork(); return "reached"',
    "a spawn": 'os.posix_spawn("/bin/true", ["true"], {}); return "reached"',
    "an exec": 'os.execv("/bin/true", ["true"]); return "reached"',
    "multiprocessing": 'multiprocessing.get_context("spawn").Process(target=print).start(); return "reached"',
    "a library": 'ctypes.CDLL("libc.so.6"); return "reached"',
}


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    """The port of a web server on loopback that answers `here`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"reached")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True, scope="module")
def _ended() -> Iterator[None]:
    yield
    tool_hosts.close()


def call(
    folder: Path,
    body: str,
    host: str,
    port: int,
    domains: tuple[str, ...] | None,
    *,
    private: bool = False,
    name: str = "attempt",
    more: str = "",
) -> str:
    """Call a tool with this body in a real host; return what it returned, or its error."""
    path = folder / "tools" / "attempts.py"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(TRY.format(body=body, more=more))
    tool = load_tools(folder, [ToolUse(name=name)])[name]
    context = ToolContext(folder, folder / "run/files", domains=domains, private_addresses=private)
    (folder / "run").mkdir(exist_ok=True)
    try:
        return call_tool("a-run", tool, {"host": host, "port": port}, context, 20)
    except FunctionFailed as error:
        return f"{error.kind}: {error}"


@pytest.mark.parametrize("way", REACH)
def test_an_allowed_domain_is_reached_as_usual_and_no_other(tmp_path: Path, site: int, way: str) -> None:
    body = REACH[way]
    assert call(tmp_path, body, "localhost", site, ("localhost",), private=True) == "reached"
    assert "localhost leads to" in call(tmp_path, body, "localhost", site, ("localhost",))
    told = call(tmp_path, body, "localhost", site, ("example.com",), private=True)
    assert "localhost is not among the domains that policy.yaml allows here (example.com)" in told


@pytest.mark.parametrize("way", AROUND)
def test_no_way_around_the_domains(tmp_path: Path, site: int, way: str) -> None:
    told = call(tmp_path, AROUND[way], "localhost", site, ("example.com",), private=way != "a local socket")
    assert told.startswith(("Refused: ", "gaierror: "))
    assert "reached" not in told


def test_without_domains_nothing_changes(tmp_path: Path, site: int) -> None:
    assert call(tmp_path, AROUND["a bare connect"], "localhost", site, None) == "reached"
    assert call(tmp_path, AROUND["a program"], "localhost", site, None) == "reached"


def test_a_tool_beside_a_restricted_one_has_a_process_of_its_own(tmp_path: Path, site: int) -> None:
    assert "Refused" in call(tmp_path, REACH["create_connection"], "localhost", site, ("example.com",))
    assert call(tmp_path, "return ''", "localhost", site, None, name="other") == "reached"
    assert "Refused" in call(tmp_path, REACH["create_connection"], "localhost", site, ("example.com",))


def test_what_a_call_leaves_behind_stays_under_its_rules(tmp_path: Path, site: int) -> None:
    more = "SAID, GO = [], threading.Event()"
    body = (
        "if host == 'later':\n        GO.set()\n        while not SAID: threading.Event().wait(0.01)\n"
        "        return SAID[0]\n"
        "    def go():\n        GO.wait(10)\n        try:\n"
        "            socket.create_connection(('127.0.0.1', port), 2); SAID.append('reached')\n"
        "        except OSError as error: SAID.append(str(error))\n"
        "    threading.Thread(target=go, daemon=True).start(); return 'left'"
    )
    assert call(tmp_path, body, "now", site, ("example.com",), private=True, more=more) == "left"
    told = call(tmp_path, body, "later", site, ("example.com",), private=True, more=more)
    assert told == "127.0.0.1 is not among the domains that policy.yaml allows here (example.com)"


def test_an_address_of_an_earlier_call_is_not_known_to_the_next(tmp_path: Path, site: int) -> None:
    body = (
        "if host == 'localhost': socket.create_connection((host, port), 2).close(); return 'reached'\n"
        "    s = socket.socket(); s.connect((host, port)); return 'reached'"
    )
    assert call(tmp_path, body, "localhost", site, ("localhost",), private=True) == "reached"
    told = call(tmp_path, body, "127.0.0.1", site, ("localhost",), private=True)
    assert told == "Refused: 127.0.0.1 is not an address that a look-up of an allowed domain gave"


def test_a_tool_that_nothing_could_keep_to_its_domains_is_not_called(tmp_path: Path, site: int) -> None:
    assert call(tmp_path, "return ''", "localhost", site, None, name="beside") == "reached"
    told = call(tmp_path, "return ''", "localhost", site, ("localhost",), name="beside")
    assert told == (
        "PermissionError: policy.yaml names its domains, and only a tool in a process of its own can be kept to them: "
        "it was not called"
    )


def test_a_file_that_connects_while_it_is_loaded_is_held_too(tmp_path: Path, site: int) -> None:
    more = f"socket.create_connection(('127.0.0.1', {site}), 2)"
    told = call(tmp_path, "return 'reached'", "localhost", site, ("example.com",), private=True, more=more)
    assert "127.0.0.1 is not among the domains" in told


def test_policy_yaml_says_where_the_tools_of_a_run_connect_to(lab: Lab, site: int) -> None:
    lab.write(tools__attempts_py=TRY.format(body=REACH["urllib"], more=""))
    arguments = json.dumps({"host": "localhost", "port": site})
    page = json.dumps({"url": f"http://localhost:{site}/"})
    tasks = {
        "own": f"@call attempt {arguments}\n@echo",
        "get": f"@call http_get {page}\n@echo",
        "elsewhere": f'@call http_get {{"url": "http://127.0.0.1:{site}/"}}\n@echo',
    }
    write_project(lab, tasks, {"tools": ["attempt", "http_get"]})
    lab.write(policy="tools:\n  attempt: {domains: [example.com]}\n  http_get: {domains: [localhost]}\n")
    outcome = lab.run()
    found = {step.record["task"]: step.record["result"] for step in lab.steps(outcome.run_id) if step.kind == "tool"}
    assert "localhost is not among the domains that policy.yaml allows here (example.com)" in found["own"]
    assert "an address of this machine or a private network" in found["get"]
    assert "127.0.0.1 is not among the domains that policy.yaml allows here (localhost)" in found["elsewhere"]
    lab.write(
        policy="tools:\n  attempt: {domains: [localhost], private_addresses: true}\n"
        "  http_get: {domains: [localhost], private_addresses: true}\n"
    )
    outcome = lab.run()
    found = {step.record["task"]: step.record["result"] for step in lab.steps(outcome.run_id) if step.kind == "tool"}
    assert found["own"] == "reached"
    assert found["get"] == f"200 http://localhost:{site}/ (no type, 7 bytes)\nThis is no text and is not shown."


def test_code_and_commands_run_in_processes_that_end_with_the_run(lab: Lab) -> None:
    tasks = {
        "calculate": '@call run_python {"code": "sum(range(10))"}\n@echo',
        "endless": '@call run_python {"code": "while True: pass"}\n@echo',
        "allowed": '@call shell {"command": "pwd"}\n@echo',
        "other": '@call shell {"command": "pwd -L"}\n@echo',
    }
    write_project(lab, tasks, {"tools": [{"run_python": {"timeout_seconds": 0.5}}, "shell"]})
    lab.write(policy="rules:\n  - {decide: allow, tools: shell, arguments: {command: [pwd]}}\n")
    outcome = lab.run()
    steps = {step.record["task"]: step for step in lab.steps(outcome.run_id) if step.kind == "tool"}
    assert steps["calculate"].record["result"] == "45"
    assert steps["endless"].record["result"] == "[ended: it took longer than 0.5 s]"
    assert (
        steps["allowed"].record["result"] == f"[exit code 0]\n{(lab.runner.folder(outcome.run_id) / 'files').resolve()}"
    )
    assert "result" not in steps["other"].record
    assert "shell" in steps["other"].record["refused"]


def test_an_undo_is_kept_to_the_domains_of_its_tool(lab: Lab, site: int) -> None:
    more = (
        f"def back(host: str) -> str:\n    socket.create_connection((host, {site}), 2).close()\n    return 'undone'\n"
    )
    text = TRY.format(body="return 'done'", more=more)
    lab.write(
        tools__attempts_py=text.replace(
            '@tool(effect="read")\ndef attempt', '@tool(effect="send", undo=back)\ndef attempt'
        )
    )
    write_project(
        lab,
        {"work": f"@call attempt {json.dumps({'host': 'localhost', 'port': site})}\n@answer: ok"},
        {"tools": ["attempt"]},
    )
    said: list[str] = []
    for domain in ("example.com", "localhost"):
        lab.write(
            policy=f"defaults: {{send: allow}}\ntools: {{attempt: {{domains: [{domain}], private_addresses: true}}}}\n"
        )
        run_id = lab.run().run_id
        row, folder, source = lab.runner.find(run_id), lab.runner.folder(run_id), lab.runner.source()
        undos = find_undos(source, row, folder, lab.root)
        undone = roll_back(source, row, folder, lab.root, undos, "tester@here", go_on=False)
        said += [*undone.failed.values(), *undone.undone.values()]
    assert len(said) == 2
    assert "localhost is not among the domains that policy.yaml allows here (example.com)" in said[0]
    assert said[1] == "undone"
