"""Further ways around the gates, found by a second pair of eyes: what a call leaves out, and what files can do."""

import html
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from policy.addresses import Unclear, hosts_in
from policy.decide import Call, Principal, Verdict
from policy.rulebook import Rulebook
from project.errors import ConfigErrors
from project.load import load_project
from project.secrets import HIDDEN, Redactor, secret_values
from project.spec_policy import PolicySpec
from tests.lab import APPLICATION, Lab
from tests.runs.scene import effects, model_spec, tool_file, write_project

NOTE = 'with open(os.environ["NOTED"], "a") as file:\n    file.write("called\\n")\nreturn "noted"'
SENDS = 'effect="send", repeat="safe", process=False'
WRITES = 'effect="write", repeat="safe", process=False'
MODELS = """
from pydantic import BaseModel, ConfigDict, Field


class Order(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    amount: float = Field(5000.0, alias="sum")
"""


@pytest.fixture
def noted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that has a line for each call of the tool `note`."""
    path = lab.root / "noted.txt"
    monkeypatch.setenv("NOTED", str(path))
    return path


def call_note(
    lab: Lab,
    arguments: dict[str, Any],
    policy: dict[str, Any],
    *,
    signature: str,
    declaration: str = SENDS,
    fixed: dict[str, Any] | None = None,
    before: str = "",
) -> str:
    """Let an agent call the tool `note`, and return how the run ended."""
    lab.write(tools__note_py=before + tool_file(NOTE, declaration, signature))
    use = {"note": fixed} if fixed else "note"
    write_project(lab, {"work": f"@call note {json.dumps(arguments)}\n@answer: done"}, {"tools": [use]})
    lab.write(policy=json.dumps({"defaults": {"send": "allow"}} | policy))
    return str(lab.run().status)


def deny(**named: Any) -> dict[str, Any]:
    return {"rules": [{"decide": "deny", "tools": "note"} | named]}


# -- what a call leaves out is called with what the tool takes by itself


@pytest.mark.parametrize(
    ("parameter", "rule"),
    [
        ("amount: float = 5000.0", {"arguments": {"amount": {"min": 100}}}),
        ('method: str = "DELETE"', {"methods": ["DELETE"]}),
        ('to: str = "anna@evil.example"', {"domains": ["evil.example"]}),
        ('folder: str = "/srv/reports"', {"paths": ["/srv/**"]}),
    ],
)
def test_what_an_agent_leaves_out_is_judged_as_what_the_tool_takes(
    lab: Lab, noted: Path, parameter: str, rule: dict[str, Any]
) -> None:
    status = call_note(lab, {"text": "a"}, deny(**rule), signature=f"text: str, {parameter}")
    assert (status, effects(noted)) == ("succeeded", [])


@pytest.mark.parametrize("arguments", [{}, {"amount": 6000}])
def test_so_is_what_a_model_among_its_parameters_takes(lab: Lab, noted: Path, arguments: dict[str, Any]) -> None:
    rule = deny(arguments={"order.sum": {"min": 100}})
    call_note(lab, {"order": arguments}, rule, signature="order: Order", before=MODELS)
    assert effects(noted) == []


def test_a_file_that_the_tool_writes_by_itself_outside_the_folder_is_asked_about(lab: Lab, noted: Path) -> None:
    signature = 'text: str, path: str = "/srv/report.md"'
    assert call_note(lab, {"text": "a"}, {}, signature=signature, declaration=WRITES) == "waiting"
    assert effects(noted) == []


def test_a_path_that_yaml_fixes_is_one_of_the_call(lab: Lab, noted: Path) -> None:
    rule, signature, fixed = deny(paths=["/srv/**"]), "text: str, folder: str", {"folder": "/srv/out"}
    call_note(lab, {"text": "a"}, rule, signature=signature, declaration=WRITES, fixed=fixed)
    assert effects(noted) == []


def test_what_lies_in_a_text_that_the_tool_reads_as_json_cannot_be_told(lab: Lab, noted: Path) -> None:
    rule = deny(arguments={"order.amount": {"min": 100}})
    call_note(lab, {"order": '{"amount": 5000}'}, rule, signature="order: str")
    assert effects(noted) == []


# -- others


def test_files_that_an_agent_has_written_are_no_repository_for_the_shell(lab: Lab) -> None:
    made = lab.root / "made-by-git"
    settings = f'[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfsmonitor = "touch {made}; false"\n'
    files = {"HEAD": "ref: refs/heads/main\n", "config": f"{settings}\tworktree = .\n", "objects/x": "", "refs/x": ""}
    calls = [f"@call write_file {json.dumps({'path': path, 'text': text})}" for path, text in files.items()]
    script = "\n".join([*calls, '@call shell {"command": "git status"}', "@answer: done"])
    write_project(lab, {"work": script}, {"tools": ["write_file", "shell"]})
    rule = {"decide": "allow", "tools": "shell", "arguments": {"command": ["git status"]}}
    lab.write(policy=json.dumps({"rules": [rule]}))
    records = [step.record for step in lab.steps(lab.run().run_id) if step.kind == "tool"]
    assert "cannot use bare repository" in records[-1]["result"]
    assert not made.exists()


def asked_of_all(*approvals: dict[str, Any]) -> Verdict:
    """Say what is decided about a call on behalf of others, where a rule for each agent asks in this way."""
    agents = ["writer", "researcher", "chief"][: len(approvals)]
    rules = [
        {"decide": "ask", "tools": ["pay"], "agents": [agent], "approval": approval}
        for agent, approval in zip(agents, approvals, strict=True)
    ]
    for_others = Principal(agent="writer", chain=tuple(reversed(agents[1:])))
    call = Call("tool", "run", "work", "writer", "pay", {}, "spend", "once", principal=for_others)
    return Rulebook(PolicySpec.model_validate({"rules": rules})).verdict(call)


def test_who_approves_for_several_agents_must_be_named_for_each() -> None:
    assert asked_of_all({"approvers": ["eve"]}, {"approvers": ["ada"]}).decide == "deny"
    assert asked_of_all({"approvers": ["eve"]}, {"approvers": ["bob"]}, {"approvers": ["ada"]}).decide == "deny"
    assert asked_of_all({"approvers": ["ada"], "four_eyes": True}, {"approvers": ["ada", "bob"]}).decide == "deny"
    one = asked_of_all({"approvers": ["eve", "ada"]}, {"approvers": ["ada@office", "bob"]}).approval
    assert one.approvers == ["ada@office"]
    two = asked_of_all({"four_eyes": True}, {"approvers": ["ada", "bob"], "expires_hours": 2}).approval
    assert (two.approvers, two.four_eyes, two.expires_hours) == (["ada", "bob"], True, 2)


@pytest.mark.parametrize("where", ["policy.yaml", "policy.yml", "config/Policy.yaml"])
def test_a_policy_in_the_wrong_place_is_told_of(tmp_path: Path, where: str) -> None:
    lab = Lab(tmp_path)
    write_project(lab, {"work": "@answer: done"})
    (tmp_path / where).write_text("rules: []\n", encoding="utf-8")
    with pytest.raises(ConfigErrors, match="is not read"):
        load_project(tmp_path, APPLICATION / "tools")


def test_secrets_are_known_as_other_programs_write_them() -> None:
    secret = "aB3+x/9Zq&'k<7=Q\"w t"
    in_json = json.dumps(secret)[1:-1]
    written = [
        "".join(sign if sign.isalnum() else f"%{ord(sign):02x}" for sign in secret),
        quote(secret, safe="!#$%&'()*+,/:;=?@[]~"),
        in_json.replace("/", "\\/"),
        in_json.replace("<", "\\u003c").replace("&", "\\u0026"),
        html.escape(secret).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    ]
    redactor = Redactor([secret])
    assert [redactor.text(f"it is {one}!") for one in written] == [f"it is {HIDDEN}!"] * 5


def test_a_key_that_begins_like_a_path_is_a_secret() -> None:
    key = "/wJalrXUtnFEMI7K7MDENG/bPxRfiCYEXAMPLEKEY"
    found = secret_values({"AWS_SECRET_ACCESS_KEY": key, "TLS_KEY": "/home/Anna1/tls.key", "OTHER_KEY": "./Keys1/a"})
    assert found == [key]


def test_a_recipient_behind_a_question_mark_is_not_understood() -> None:
    with pytest.raises(Unclear):
        hosts_in({"to": "anna@example.com?cc=eve%40evil.example"})


@contextmanager
def answering(usage: str) -> Generator[str]:
    """Serve a model that answers with 400 words and says this of what it has used; yield its address."""
    message = {"role": "assistant", "content": "word " * 400}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "scripted"}
    body |= {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": json.loads(usage)}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            told = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.mark.parametrize("told", [0, -5000, "NaN"])
def test_an_answer_of_which_the_provider_counts_nothing_is_estimated(lab: Lab, told: Any) -> None:
    with answering(json.dumps({"prompt_tokens": 10, "completion_tokens": told, "total_tokens": 10})) as address:
        write_project(lab, {"work": "Tell a lot."})
        model_spec(lab, address, price={"input": 10, "output": 100}, max_tokens=1000)
        (record,) = (step.record for step in lab.steps(lab.run().run_id) if step.kind == "model")
    assert record["usage"]["output_tokens"] == 500
    assert record["usage"]["estimated"]
