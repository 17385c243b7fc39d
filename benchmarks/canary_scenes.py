"""Projects full of canaries, the processes that run them, and all that they print: for benchmarks/canaries.py."""

import json
import signal
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.farm import Farm, Process
from tests.scripted_server import Reply, ScriptedServer, ToolCall

_NOTICES = 9
"""A question, a run that waits and one that ended, each told by three channels."""

_TOOLS = '''
import base64
import json
import os
import time
from pathlib import Path
from urllib.parse import quote

from muster import ToolContext, guardrail, tool

SHAPED = Path(__file__).parent.parent / "shaped.json"


def _every(context: ToolContext) -> list[str]:
    return [*context.secrets.values(), *(os.environ.get(name, "") for name in context.secrets)]


@tool(effect="read")
def vault(context: ToolContext) -> str:
    """Say all that it was given, in several forms."""
    said = _every(context)
    said += [base64.b64encode(f"user:{one}".encode()).decode() for one in said]
    said += [quote(one, safe="") for one in said]
    said += [json.dumps(said), repr(said), *json.loads(SHAPED.read_text())["result"]]
    return "\\n".join(said)


@tool(effect="read")
def snoop() -> str:
    """Say all that stands in the environment."""
    with open("/proc/self/environ") as file:
        return file.read() + json.dumps(dict(os.environ))


@tool(effect="read")
def broken(context: ToolContext) -> str:
    """Fail with what it was given."""
    raise OSError(" ".join(["x" * 1990, *_every(context), *json.loads(SHAPED.read_text())["error"]]))


@tool(effect="write", repeat="safe")
def slow(text: str, context: ToolContext) -> str:
    """Take its time, once."""
    mark = context.project / "slow.mark"
    if not mark.exists():
        mark.write_text("here")
        time.sleep(120)
    return "\\n".join(_every(context))


@tool(effect="send")
def post(text: str) -> str:
    """Post a text."""
    return f"posted {text}"
'''
_GUARDRAILS = '''
import json
from pathlib import Path

from muster import guardrail

SHAPED = Path(__file__).parent.parent / "shaped.json"


@guardrail
def strict(text: str) -> str:
    """Never accept a text, and say why."""
    return "not with " + " ".join(json.loads(SHAPED.read_text())["private-key"])
'''
_PRIVATE_TOOLS = '''
import time
from pathlib import Path

from muster import ToolContext, tool

WORDS = Path(__file__).parent.parent / "words.txt"


@tool(effect="read", private=True)
def records(of: str, context: ToolContext) -> str:
    """Read a patient's records."""
    mark = context.project / "slow.mark"
    if of == "slow" and not mark.exists():
        mark.write_text("here")
        time.sleep(120)
    return WORDS.read_text() * (2000 if of == "large" else 1)


@tool(effect="send")
def post(text: str) -> str:
    """Post a text."""
    return f"posted {text}"
'''


_UNPROTECTED = """
from project import secrets
from runs.governed import redaction
from runs.stored import sealing

def as_it_is(*given, **_):
    return given[-1]

for name in ("text", "known", "value"):
    setattr(secrets.Redactor, name, as_it_is)
sealing._sealed = lambda text, key: text
redaction.mask = lambda value, safe=(): value
import main
main.main()
"""
"""A command as `main.py` is one, but that nothing is taken out or encrypted: the control."""

_SCHEDULES = """
schedules:
  told-waits: {crew: waits, cron: "0 0 1 1 *", on_failure: {notify: [script, hook, broken]}, notify_on: &all
    [failed, stopped, missed, waiting, succeeded]}
  told-other: {crew: CREW, cron: "0 0 1 1 *", on_failure: {notify: [script, hook, broken]}, notify_on: *all}
notify:
  script: {command: [sh, -c, "cat >> notices.txt"]}
  hook: {webhook: "ADDRESS"}
  broken: {command: [sh, -c, 'cat >> notices.txt; echo "no: $CANARY_0_TOKEN" >&2; exit 3']}
"""


class EchoServer:
    """For `with`. A provider that refuses every call, and says with which header it came and what is in `body`."""

    def __init__(self, status: int = 401, body: str = "") -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                said = f"refused: Authorization: {self.headers['authorization']} {server.body}"
                text = json.dumps({"error": {"message": said, "type": "auth", "code": "no"}}).encode()
                self.send_response(server.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.status, self.body = status, body
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"


class Webhook:
    """For `with`. An address to which notices are posted, and what was posted."""

    def __init__(self) -> None:
        received = self.received = list[bytes]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def model_that_says(canaries: Sequence[str]) -> ScriptedServer:
    def script(messages: list[Any], tools: list[Any]) -> Reply:
        last = str(messages[-1].get("content"))
        done = any(message["role"] == "tool" for message in messages)
        wanted = [tool.get("function", tool)["name"] for tool in tools if not done]
        if wanted:
            return Reply(calls=tuple(ToolCall(name, json.dumps(_arguments(name, canaries))) for name in wanted))
        return Reply(f"I found {' '.join(canaries)} and read {last}")

    return ScriptedServer(script)


def tell_on(messages: list[Any], tools: list[Any]) -> Reply:
    """Read the records, post them where that is offered, and answer with them."""
    called = [call["function"]["name"] for message in messages for call in message.get("tool_calls") or ()]
    last = str(messages[-1].get("content"))
    offered = [tool.get("function", tool)["name"] for tool in tools]
    if "records" not in called and "records" in offered:
        of = next(name for name in ("slow", "large", "waits", "told") if f"records of {name}" in json.dumps(messages))
        return Reply(calls=(ToolCall("records", json.dumps({"of": of})),))
    if "post" in offered and "post" not in called:
        return Reply(calls=(ToolCall("post", json.dumps({"text": last})),))
    return Reply(f"The records say {last[:100_000]}")


def _arguments(name: str, canaries: Sequence[str]) -> dict[str, Any]:
    if name in ("slow", "post"):
        return {"text": " ".join(canaries)}
    return {"query": "costs"} if name == "search_documents" else {"path": "notes.md"} if name == "read_document" else {}


def write_secret_project(scene: "Scene", planted: Mapping[str, Sequence[str]], base_url: str) -> None:
    declared = [f"CANARY_{n}_TOKEN" for n in range(len(planted["environment"]))]
    settings = [f"SETTING_{n}" for n in range(len(planted["dotenv"]))]
    given = {"secrets": [*declared, *settings]}
    tools = {
        "reads": ["vault", "snoop"],
        "fails": ["broken"],
        "documents": [{"read_document": {"folder": "documents"}}, {"search_documents": {"folder": "documents"}}],
        "crashes": ["slow"],
        "waits": ["post"],
        "inputs": [],
        "refused": [],
    }
    scene.write(tools, {"default": {"model": "openai/scripted", "base_url": base_url}})
    scene.text("config/policy.yaml", json.dumps({"tools": dict.fromkeys(("vault", "broken", "slow"), given)}))
    scene.text("tools/canaries.py", _TOOLS)
    scene.text("guardrails/canaries.py", _GUARDRAILS)
    quoted = "".join(
        f"{name}='{value}'\n" for name, value in zip(settings, map(_for_dotenv, planted["dotenv"]), strict=True)
    )
    scene.text(".env", quoted)
    scene.text("shaped.json", json.dumps({kind: planted[kind] for kind in ("result", "error", "private-key")}))
    scene.text(
        "documents/notes.md", "# Notes on costs\n\n" + "\n\n".join(f"The costs: {one}" for one in planted["document"])
    )


def _for_dotenv(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def write_private_project(scene: "Scene", words: Sequence[str], base_url: str) -> None:
    tools = {name: ["records"] for name in ("told", "large", "crashes")} | {"waits": ["records", "post"]}
    scene.write(tools, {"default": {"model": "openai/scripted", "base_url": base_url}})
    tasks = json.loads((scene.root / "config/tasks.yaml").read_text())
    for name in tasks:
        tasks[name]["description"] = f"Read the records of {'slow' if name == 'crashes' else name}"
    scene.text("config/tasks.yaml", json.dumps(tasks))
    scene.text("tools/canaries.py", _PRIVATE_TOOLS)
    scene.text("words.txt", " ".join(words))


@dataclass
class Scene:
    """A project folder, the processes that run it, and what they printed."""

    root: Path
    farm: Farm
    hook: "Webhook"
    control: bool = False
    briefly: bool = False
    environment: dict[str, str] = field(default_factory=dict[str, str])
    printed: list[bytes] = field(default_factory=list[bytes])
    codes: dict[str, int] = field(default_factory=dict[str, int])

    def text(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def write(self, tools: Mapping[str, Sequence[Any]], models: Mapping[str, Any]) -> None:
        """Write one crew, task and agent by each of these names, with its tools."""
        usual = {"role": "Worker", "goal": "Do the work", "backstory": "You work."}
        task = {"description": "Do it with your tools", "expected_output": "A text."}
        agents = {f"{name}_agent": usual | {"tools": list(found)} for name, found in tools.items()}
        tasks: dict[str, Any] = {name: task | {"agent": f"{name}_agent"} for name in tools}
        if "refused" in tools:
            tasks["refused"] |= {"guardrails": ["strict"], "guardrail_max_retries": 1}
            tasks["inputs"] |= {"description": "Say {word}", "output_file": "delivered/inputs.md"}
        crews: dict[str, Any] = {name: {"tasks": [name]} for name in tools}
        if "inputs" in crews:
            crews["inputs"]["inputs"] = {"word": None}
        for name, value in (("agents", agents), ("tasks", tasks), ("crews", crews)):
            self.text(f"config/{name}.yaml", json.dumps(value))
        self.models(models)

    def models(self, models: Mapping[str, Any]) -> None:
        self.text("config/models.yaml", json.dumps(models))

    def run(self, name: str, *arguments: str) -> int:
        """Run one command to its end."""
        process = self._start(*arguments)
        self.codes[name] = process.wait(120)
        self.printed.append(process.log.read_bytes())
        return self.codes[name]

    def _start(self, *arguments: str) -> Process:
        if self.control:
            told = ("--project", str(self.root), *arguments)
            return self.farm.execute(_UNPROTECTED, *told, out="log", **self.environment)
        return self.farm.start(self.root, *arguments, out="log", **self.environment)

    def notices(self, other: str) -> None:
        """Have schedules run a crew that waits and this one, and channels told what becomes of them."""
        self.text("config/schedules.yaml", _SCHEDULES.replace("CREW", other).replace("ADDRESS", self.hook.base_url))
        file = self.root / "config/policy.yaml"
        policy: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        self.text("config/policy.yaml", json.dumps(policy | {"approvals": {"notify": ["script", "hook", "broken"]}}))
        for name in ("told-waits", "told-other"):
            self.look_at("schedule", "run", name)
        process, wait = self._start("serve"), threading.Event()
        while self.noticed() < _NOTICES and process.poll() is None:
            wait.wait(0.05)
        process.signal(signal.SIGTERM)
        process.wait(120)
        self.printed.append(process.log.read_bytes())
        self.look_at("schedule", "list", "--json")

    def noticed(self) -> int:
        file = self.root / "notices.txt"
        return len(self.hook.received) + (file.read_bytes().count(b'"event"') if file.exists() else 0)

    def crash(self, crew: str) -> None:
        """Kill a run in the middle of a call, and go on with it."""
        process = self._start("run", crew, "--id", crew)
        wait = threading.Event()
        while not (self.root / "slow.mark").exists() and process.poll() is None:
            wait.wait(0.02)
        process.signal(signal.SIGKILL)
        process.wait()
        self.printed.append(process.log.read_bytes())
        self.run(f"{crew} (killed, resumed)", "runs", "resume", crew)

    def look(self, *, results: bool = True) -> None:
        """Print all that can be printed of every run, but not their `results` where these may be private."""
        ids = [name.partition(" ")[0] for name in self.codes]
        if self.briefly:
            self._look_briefly(ids, results=results)
            return
        for run_id in ids:
            for command in ("trace", "why", "costs", *(("show",) if results else ())):
                self.look_at("runs", command, run_id)
                self.look_at("runs", command, run_id, "--json")
            task = "inputs" if run_id.startswith("refused-") else run_id
            self.look_at("blame", task, "--run", run_id)
            self.look_at("blame", task, "--run", run_id, "--json")
            self.look_at("audit", "report", run_id, "--json")
            self.look_at("audit", "export", run_id)
            self.look_at("runs", "replay", run_id)
        self.look_at("runs", "watch", ids[0], "--json")
        if results:  # what differs is shown as it is
            self.look_at("runs", "diff", ids[0], ids[1])
        for part in ("heads", "export"):
            self.look_at(
                "audit", part, *(["--all"] if part == "export" else []), "-o", str(self.root / f"{part}.jsonl")
            )
        self.look_at("runs", "list", "--json")
        self._questions()
        for command in ("check", "doctor", "tools", "models", "agents", "crews"):
            self.look_at(command)
        self.look_at("plan", ids[0], "--json")

    def _look_briefly(self, run_ids: Sequence[str], *, results: bool) -> None:
        for run_id in run_ids:
            for command in ("trace", "why", *(("show",) if results else ())):
                self.look_at("runs", command, run_id, "--json")
        self.look_at("blame", run_ids[0], "--run", run_ids[0], "--json")
        self.look_at("audit", "export", "--all")
        self._questions()

    def _questions(self) -> None:
        listed = self.look_at("approvals", "list", "--json")
        self.look_at("approvals", "list")
        for question in json.loads(listed[listed.index(b"[") :]):
            self.look_at("approvals", "show", question["question_id"])
            self.look_at("approvals", "show", question["question_id"], "--json")
            self.look_at("approvals", "reject", question["question_id"], "--reason", "no", "--json")

    def look_at(self, *arguments: str) -> bytes:
        """Run a command, and keep what it prints to be searched; return it."""
        process = self._start(*arguments)
        process.wait(120)
        self.printed.append(process.log.read_bytes())
        return self.printed[-1]

    def written(self) -> dict[str, bytes]:
        """Return everything that was written or printed, by its place."""
        blobs = {"printed": b"\n".join(self.printed), "webhook": b"\n".join(self.hook.received)}
        for path in (*self.root.glob("*.jsonl"), *self.root.glob("notices.txt")):
            blobs[path.name] = path.read_bytes()
        for folder in (".muster", "delivered"):
            for path in sorted((self.root / folder).rglob("*")):
                if path.is_file():
                    blobs[str(path.relative_to(self.root))] = path.read_bytes()
        for path in Path(tempfile.gettempdir()).glob("muster-error-*.txt"):
            blobs[str(path)] = path.read_bytes()
        return blobs
