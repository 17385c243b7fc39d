"""Providers of CrewAI's, asked through `Model.ask` over real HTTP: one attempt, classified errors, a hard deadline."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat.chat_completion import ChatCompletion, Choice
from openai.types.completion_usage import CompletionUsage, PromptTokensDetails

from models.answer import ModelError
from models.answer_types import build_answer_types
from project.errors import AppError
from project.spec import ModelSpec
from runs import quiet
from tests.scripted_server import ScriptedServer

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look.",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh(server: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    quiet.prepare(tmp_path_factory.getbasetemp() / "crewai")
    server.reset()
    server.configure(faults=[])


def make(server: ScriptedServer, **more: Any) -> Any:
    from models.make import make_model

    spec = {"model": "openai/scripted", "base_url": server.base_url, "timeout_seconds": 5} | more
    return make_model("it", ModelSpec.model_validate(spec), {"OPENAI_API_KEY": "sk-secret"})


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_an_answer_comes_with_its_usage(server: ScriptedServer) -> None:
    answer = make(server).ask(user("@answer: hello there"), [], 5)
    assert answer.text == "hello there"
    assert (answer.calls, answer.cut_off, answer.usage.estimated) == ((), False, False)
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


def test_tool_calls_come_as_they_were_made(server: ScriptedServer) -> None:
    answer = make(server).ask(user('@call look {"q": "a"}\n@answer: x'), [TOOL], 5)
    assert [(call.name, call.arguments) for call in answer.calls] == [("look", '{"q": "a"}')]
    assert answer.text == ""


def test_a_streamed_answer_is_the_same_answer(server: ScriptedServer) -> None:
    plain = make(server).ask(user("@answer: hello there"), [], 5)
    streamed = make(server, parameters={"stream": True}).ask(user("@answer: hello there"), [], 5)
    assert (streamed.text, streamed.usage) == (plain.text, plain.usage)


def test_an_answer_that_stopped_at_the_limit_is_marked(server: ScriptedServer) -> None:
    assert make(server).ask(user("@cut-off\n@long 50"), [], 5).cut_off


def test_how_long_an_answer_may_be_is_told_the_provider(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(server).ask(user("@answer: a"), [], 5, 300)
    make(server, max_tokens=500).ask(user("@answer: a"), [], 5)
    assert [request.body["max_tokens"] for request in server.requests] == [300, 500]
    assert not any("max_completion_tokens" in request.body for request in server.requests)


def test_openais_own_models_are_told_by_the_name_that_all_of_them_take() -> None:
    from models.make import make_model

    model: Any = make_model("it", ModelSpec(model="openai/gpt-5", max_tokens=500), {"OPENAI_API_KEY": "sk-secret"})
    sent = model.provider._prepare_completion_params([])  # as CrewAI sends it
    assert (sent.get("max_completion_tokens"), sent.get("max_tokens")) == (500, None)


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def failed(base_url: str, seconds: float = 5, **more: Any) -> ModelError:
    from models.make import make_model

    spec = ModelSpec.model_validate({"model": "openai/scripted", "base_url": base_url, **more})
    with pytest.raises(ModelError) as caught:
        make_model("it", spec, {"OPENAI_API_KEY": "sk-secret"}).ask(user("hello"), [], seconds)
    return caught.value


def served_once(work: Callable[[socket.socket], None]) -> tuple[int, threading.Thread]:
    """Do this with the first connection, in a thread; return the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as client:
            work(client)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return int(listener.getsockname()[1]), thread


def test_a_refused_connection_has_sent_nothing() -> None:
    error = failed(f"http://127.0.0.1:{closed_port()}/v1")
    assert (error.kind, error.unsent) == ("connection", True)


def test_a_name_that_is_not_found_has_sent_nothing() -> None:
    error = failed("http://nowhere.invalid/v1")
    assert (error.kind, error.unsent) == ("connection", True)


def test_a_refused_handshake_has_sent_nothing() -> None:
    port, thread = served_once(lambda client: client.sendall(b"HTTP/1.1 400 no TLS here\r\n\r\n"))
    error = failed(f"https://127.0.0.1:{port}/v1")
    thread.join(10)
    assert (error.kind, error.unsent) == ("connection", True)


def test_a_server_that_takes_no_connection_was_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        others = [socket.socket() for _ in range(4)]
        for one in others:  # fill the queue of connections, so that the next one gets no answer
            one.setblocking(False)
            one.connect_ex(address)
        error = failed(f"http://127.0.0.1:{address[1]}/v1", 0.5)
        for one in others:
            one.close()
    assert (error.kind, error.unsent) == ("timeout", True)


def test_a_reset_after_the_request_may_have_been_billed() -> None:
    def reset(client: socket.socket) -> None:
        client.recv(65536)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    port, thread = served_once(reset)
    error = failed(f"http://127.0.0.1:{port}/v1")
    thread.join(10)
    assert (error.kind, error.unsent) == ("connection", False)


@pytest.mark.parametrize("fault", ["drop", "hang", "truncate"])
def test_what_may_have_arrived_is_not_said_to_be_unsent(server: ScriptedServer, fault: str) -> None:
    server.configure(faults=[{"fault": fault}])
    assert not failed(server.base_url, 0.5).unsent


def test_a_request_that_was_passed_on_is_not_unsent() -> None:
    """The first server has had the request, though that to which it sends the client can't be reached."""
    to = f"http://127.0.0.1:{closed_port()}/v1/chat/completions"

    def pass_on(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(f"HTTP/1.1 307 Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode())

    port, thread = served_once(pass_on)
    error = failed(f"http://127.0.0.1:{port}/v1")
    thread.join(10)
    assert not error.unsent


@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        ("429", "rate_limit", True),
        ("429-ms", "rate_limit", True),
        ("429-date", "rate_limit", True),
        ("500", "server", True),
        ("502", "server", True),
        ("503", "server", True),
        ("drop", "connection", True),
        ("truncate", "connection", True),
        ("malformed", "bad_response", True),
        ("error-body", "bad_response", True),
        ("empty-choices", "bad_response", True),
        ("400", "refused", False),
        ("401", "auth", False),
        ("404", "not_found", False),
        ("context-length", "context", False),
        ("context-size", "context", False),
    ],
)
def test_each_fault_is_one_classified_attempt(server: ScriptedServer, fault: str, kind: str, retryable: bool) -> None:
    server.configure(faults=[{"match": "fault here", "attempts": [1, 2, 3, 4], "fault": fault}])
    with pytest.raises(ModelError) as caught:
        make(server).ask(user(f"fault here {fault}"), [], 5)
    assert (caught.value.kind, caught.value.retryable) == (kind, retryable)
    assert server.stats()["attempts"] == 1
    assert "sk-secret" not in str(caught.value)


def test_retry_after_is_read_in_each_form(server: ScriptedServer) -> None:
    waits = {}
    for fault in ("429", "429-ms", "429-date", "429-bare"):
        server.configure(faults=[{"match": "wait", "attempts": [1], "fault": fault}], retry_after_seconds=2)
        with pytest.raises(ModelError) as caught:
            make(server).ask(user(f"wait {fault}"), [], 5)
        waits[fault] = caught.value.retry_after
    assert waits["429"] == 2.0
    assert waits["429-ms"] == 2.0
    assert waits["429-date"] == pytest.approx(2.0, abs=1.1)
    assert waits["429-bare"] is None


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_an_answer_that_never_ends_is_given_up_at_the_deadline(server: ScriptedServer, fault: str) -> None:
    server.configure(faults=[{"match": "for ever", "attempts": [1], "fault": fault}])
    began = time.monotonic()
    with pytest.raises(ModelError) as caught:
        make(server).ask(user(f"for ever {fault}"), [], 0.5)
    assert caught.value.kind == "timeout"
    assert time.monotonic() - began < 30  # far from the 600 s of the SDK


def test_many_threads_share_one_provider_and_keep_their_usage_apart(server: ScriptedServer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    model = make(server)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: model.ask(user(f"@long {n * 10 + 1}"), [], 5), range(16)))
    assert [len(answer.text.split()) for answer in answers] == [n * 10 + 1 for n in range(16)]
    assert len({answer.usage.output_tokens for answer in answers}) == 16


def test_a_missing_key_is_named_before_anything_is_sent() -> None:
    from models.make import make_model

    with pytest.raises(AppError) as caught:
        make_model("fast", ModelSpec(model="openai/gpt-4o-mini"), {})
    assert str(caught.value) == "model 'fast' (openai/gpt-4o-mini) needs a key"
    assert caught.value.fixes() == ["set OPENAI_API_KEY in the environment or in .env"]
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("model", "extra"), [("anthropic/claude-sonnet-4-5", "anthropic"), ("mistral/mistral-small", "litellm")]
)
def test_a_missing_package_is_named_with_its_install_line(model: str, extra: str) -> None:
    from models.make import make_model

    with pytest.raises(AppError) as caught:
        make_model("it", ModelSpec(model=model), {"ANTHROPIC_API_KEY": "x"})
    assert caught.value.fixes() == [f"pip install 'crewai[{extra}]==1.15.30'"]


def test_a_lone_surrogate_in_an_answer_does_not_reach_the_journal(tmp_path: Path) -> None:
    from models.make import clean

    assert clean("a\ud800b\x00c") == "a?b\ufffdc"


def test_the_types_of_an_answer_are_built_before_threads_share_them() -> None:
    # Two threads that use one first at the same moment can meet it half built, and lose an answer that was paid.
    kinds = (ChatCompletion, Choice, CompletionUsage, PromptTokensDetails)
    for kind in kinds:  # as a fresh process has them
        kind.__pydantic_complete__ = False
        del kind.__pydantic_core_schema__
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: build_answer_types(), range(8)))
    assert [kind.__pydantic_complete__ for kind in kinds] == [True] * 4
    assert (
        Choice.model_validate_json('{"finish_reason": "stop", "index": 0, "message": {"role": "assistant"}}').index == 0
    )
