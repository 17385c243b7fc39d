"""The scripted server, met with the real `openai` client."""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, cast

import httpx
import openai
import pytest

from tests.scripted_server import FAULTS, Fault, Reply, Request, ScriptedServer, Settings, ToolCall
from tests.server_wire import Call, draw

Json = dict[str, Any]

SYSTEM = {"role": "system", "content": "You are the researcher. You find facts."}
SEARCH = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
SAVE = {"type": "object", "properties": {"text": {"type": "string"}, "draft": {"type": "boolean", "default": False}}}
PLAIN = "Report about topic-7."
LONG: Any = [{"role": "user", "content": "@long 300"}]


def _tool(name: str, parameters: Json) -> Json:
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


TOOLS = [_tool("search", SEARCH), _tool("save", SAVE)]


def _talk(prompt: str) -> list[Json]:
    return [SYSTEM, {"role": "user", "content": prompt}]


def _client(server: ScriptedServer, timeout: float = 5.0) -> openai.OpenAI:
    # Without `verify`, each client would load the machine's certificates first.
    http = httpx.Client(verify=False, timeout=timeout)
    return openai.OpenAI(base_url=server.base_url, api_key="sk-very-secret", max_retries=0, http_client=http)


def _ask(server: ScriptedServer, messages: str | list[Json], *, timeout: float = 5.0, **more: Any) -> Any:
    """Return the whole reply, or the chunks of a stream."""
    sent = _talk(messages) if isinstance(messages, str) else messages
    with _client(server, timeout) as client:
        reply = cast(Any, client.chat.completions.create)(model="m", messages=sent, **more)
        return list(reply) if more.get("stream") else reply


def _text(server: ScriptedServer, messages: str | list[Json], **more: Any) -> str:
    return _ask(server, messages, **more).choices[0].message.content


def _replies(server: ScriptedServer, prompt: str, rounds: int = 10) -> list[Any]:
    """Play an agent: answer every tool call until a text comes. A text is a string, a reply with calls a list."""
    messages, said = _talk(prompt), list[Any]()
    for _ in range(rounds):
        message = _ask(server, messages, tools=TOOLS).choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            return [*said, message.content]
        said.append([f"{call.function.name} {call.function.arguments}" for call in message.tool_calls])
        for call in message.tool_calls:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": f"result of {call.function.name}"})
    return said


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def fresh(server: ScriptedServer) -> Iterator[ScriptedServer]:
    server.reset()
    yield server
    defaults = Settings()
    server.configure(rates={}, faults=(), **{name: getattr(defaults, name) for name in ("latency", "context_window")})


# What it says


def test_an_answer_names_role_and_topic_and_the_digest_of_all_messages(fresh: ScriptedServer) -> None:
    text = _text(fresh, PLAIN)
    assert text.startswith(f"Researcher result for topic-7. Inputs {fresh.requests[0].call}. In short, the findings")
    assert _text(fresh, [*_talk(PLAIN), {"role": "user", "content": "x"}]) != text


def test_two_servers_and_two_attempts_answer_with_the_same_bytes(fresh: ScriptedServer) -> None:
    def raw(server: ScriptedServer) -> bytes:
        with _client(server) as client:
            answer = client.chat.completions.with_raw_response.create(model="m", messages=_talk(PLAIN), tools=TOOLS)  # type: ignore[arg-type]
            return answer.content

    with ScriptedServer() as other:
        assert raw(fresh) == raw(fresh) == raw(other)


def test_ids_of_tool_calls_are_not_part_of_a_logical_call(fresh: ScriptedServer) -> None:
    def messages(name: str) -> list[Json]:
        call = {"id": name, "type": "function", "function": {"name": "search", "arguments": "{}"}}
        result = {"role": "tool", "tool_call_id": name, "content": "nothing"}
        return [*_talk(PLAIN), {"role": "assistant", "content": None, "tool_calls": [call]}, result]

    assert _text(fresh, messages("a")) == _text(fresh, messages("b"))
    assert [(one.attempt, one.call) for one in fresh.requests] == [
        (1, fresh.requests[0].call),
        (2, fresh.requests[0].call),
    ]


def test_tools_the_task_asks_for_are_called_once_in_order_and_then_it_answers(fresh: ScriptedServer) -> None:
    replies = _replies(fresh, "Use the tools to write about topic-7.")
    assert replies[:2] == [
        ['search {"query": "query of topic-7"}'],
        ['save {"text": "text of topic-7", "draft": false}'],
    ]
    assert replies[2].startswith("Researcher result for topic-7.")
    assert fresh.stats()["tool_calls"] == {"save": 1, "search": 1}


@pytest.mark.parametrize(
    "prompt", [PLAIN, "@call search\n@answer: done", "@parallel\n@call search\n@call save", "@empty"]
)
def test_a_stream_says_the_same_as_a_whole_reply(fresh: ScriptedServer, prompt: str) -> None:
    whole = _ask(fresh, prompt, tools=TOOLS)
    chunks = list(_ask(fresh, prompt, tools=TOOLS, stream=True, stream_options={"include_usage": True}))
    calls: dict[int, list[str]] = {}
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    for part in [part for delta in deltas for part in delta.tool_calls or ()]:
        call = calls.setdefault(part.index, ["", "", ""])
        for at, piece in enumerate((part.id, part.function.name, part.function.arguments)):
            call[at] += piece or ""
    message = whole.choices[0].message
    assert "".join(delta.content or "" for delta in deltas) == (message.content or "")
    assert list(calls.values()) == [
        [one.id, one.function.name, one.function.arguments] for one in message.tool_calls or ()
    ]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_a_stream_reports_usage_only_when_it_is_asked_for(fresh: ScriptedServer) -> None:
    assert all(chunk.usage is None and chunk.choices for chunk in _ask(fresh, PLAIN, stream=True))


def test_four_characters_are_a_token(fresh: ScriptedServer) -> None:
    usage = _ask(fresh, "x" * 400 + "\n@answer: " + "y" * 40).usage
    prompt = len(SYSTEM["content"]) + 1 + 400 + 1 + len("@answer: ") + 40
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (prompt // 4, 10, prompt // 4 + 10)
    assert fresh.stats()["prompt_tokens"] == usage.prompt_tokens


def test_a_schema_in_the_response_format_is_answered_with_an_example(fresh: ScriptedServer) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": SEARCH}}
    assert json.loads(_text(fresh, PLAIN, response_format=wanted)) == {"query": "query of topic-7"}


def test_models_are_listed(fresh: ScriptedServer) -> None:
    with _client(fresh) as client:
        assert [model.id for model in client.models.list()] == ["scripted"]


def test_a_function_is_a_script() -> None:
    def script(messages: list[Json], tools: list[Json]) -> Reply:
        if messages[-1]["role"] == "tool":
            return Reply("done", finish="length", cached_tokens=3)
        return Reply("thinking", (ToolCall(tools[0]["name"], '{"query": 1}'),))

    with ScriptedServer(script) as server:
        first = _ask(server, PLAIN, tools=TOOLS).choices[0]
        result = {"role": "tool", "tool_call_id": first.message.tool_calls[0].id, "content": "r"}
        last = _ask(server, [*_talk(PLAIN), first.message.model_dump(exclude_none=True), result], tools=TOOLS)
    assert (first.message.content, first.message.tool_calls[0].function.name) == ("thinking", "search")
    assert (last.choices[0].message.content, last.choices[0].finish_reason) == ("done", "length")
    assert last.usage.prompt_tokens_details.cached_tokens == 3


def test_a_script_that_fails_is_told_to_the_client_and_counted() -> None:
    def script(messages: list[Json], tools: list[Json]) -> Reply:
        raise RuntimeError("the test is wrong")

    with ScriptedServer(script) as server:
        with pytest.raises(openai.BadRequestError, match="RuntimeError: the test is wrong"):
            _ask(server, PLAIN)
        assert server.stats()["outcomes"] == {"script_error": 1}


# Faults


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "error", "status", "code"),
    [
        ("400", openai.BadRequestError, 400, None),
        ("401", openai.AuthenticationError, 401, "invalid_api_key"),
        ("404", openai.NotFoundError, 404, "model_not_found"),
        ("429", openai.RateLimitError, 429, "rate_limit_exceeded"),
        ("quota", openai.RateLimitError, 429, "insufficient_quota"),
        ("500", openai.InternalServerError, 500, None),
        ("502", openai.InternalServerError, 502, None),
        ("503", openai.InternalServerError, 503, "overloaded"),
        ("context-length", openai.BadRequestError, 400, "context_length_exceeded"),
    ],
)
def test_a_refusal_reaches_the_client_as_its_error(
    fresh: ScriptedServer, fault: str, error: type[openai.APIStatusError], status: int, code: str | None, stream: bool
) -> None:
    fresh.configure(faults=[{"fault": fault}])
    with pytest.raises(error) as raised:
        _ask(fresh, PLAIN, stream=stream)
    assert (raised.value.status_code, raised.value.code) == (status, code)
    stats = fresh.stats()
    assert (stats["outcomes"], stats["ok"], stats["in_flight"]) == ({fault: 1}, 0, 0)


def test_a_rate_limit_says_when_to_come_back_in_four_ways(fresh: ScriptedServer) -> None:
    headers: dict[str, httpx.Headers] = {}
    for fault in ("429", "429-date", "429-ms", "429-bare"):
        fresh.configure(faults=[{"fault": fault}], retry_after_seconds=2.5)
        with pytest.raises(openai.RateLimitError) as raised:
            _ask(fresh, PLAIN)
        headers[fault] = raised.value.response.headers
    assert (headers["429"]["retry-after"], headers["429-ms"]["retry-after-ms"]) == ("2.5", "2500")
    assert 1 < parsedate_to_datetime(headers["429-date"]["retry-after"]).timestamp() - time.time() < 4
    assert "retry-after" not in headers["429-ms"]
    assert not [name for name in headers["429-bare"] if name.startswith("retry")]


def test_llama_cpp_says_how_many_tokens_it_has(fresh: ScriptedServer) -> None:
    fresh.configure(context_window=10, context_error="context-size")
    with pytest.raises(openai.BadRequestError) as raised:
        _ask(fresh, "x" * 400)
    tokens = (len(SYSTEM["content"]) + 1 + 400) // 4
    assert raised.value.body == {
        "code": 400,
        "message": f"request ({tokens} tokens) exceeds the available context size (10 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": tokens,
        "n_ctx": 10,
    }


def test_a_context_window_refuses_only_what_is_longer(fresh: ScriptedServer) -> None:
    fresh.configure(context_window=50, context_error="context-length")
    assert _text(fresh, PLAIN)
    with pytest.raises(openai.BadRequestError, match="maximum context length is 50 tokens"):
        _ask(fresh, "x" * 400)


# What openai 2.54 makes of it, which is not always one of its own errors.
@pytest.mark.parametrize(
    ("fault", "stream", "error"),
    [
        ("drop", False, openai.APIConnectionError),
        ("drop", True, openai.APIConnectionError),
        ("truncate", False, openai.APIConnectionError),
        ("truncate", True, httpx.RemoteProtocolError),
        ("short", False, json.JSONDecodeError),
        ("malformed", False, json.JSONDecodeError),
        ("malformed", True, json.JSONDecodeError),
        ("error-body", True, openai.APIError),
    ],
)
def test_a_broken_reply_breaks_the_client(
    fresh: ScriptedServer, fault: str, stream: bool, error: type[Exception]
) -> None:
    fresh.configure(faults=[{"fault": fault}])
    with pytest.raises(error):
        _ask(fresh, PLAIN, stream=stream)
    assert fresh.stats()["outcomes"] == {fault: 1}
    assert fresh.stats()["ok"] == 0


def test_a_short_stream_ends_without_a_finish_reason(fresh: ScriptedServer) -> None:
    fresh.configure(faults=[{"fault": "short"}])
    chunks = _ask(fresh, PLAIN, stream=True)
    assert chunks
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)


def test_an_error_may_come_as_a_success(fresh: ScriptedServer) -> None:
    fresh.configure(faults=[{"fault": "error-body"}])
    reply = _ask(fresh, PLAIN)
    assert (reply.choices, reply.error["type"]) == (None, "server_error")


def test_a_reply_may_have_no_choices(fresh: ScriptedServer) -> None:
    fresh.configure(faults=[{"fault": "empty-choices"}])
    assert _ask(fresh, PLAIN).choices == []
    assert [chunk.choices for chunk in _ask(fresh, PLAIN, stream=True)] == [[]]


def test_a_slow_reply_is_late_but_good(fresh: ScriptedServer) -> None:
    fresh.configure(faults=[{"fault": "slow", "attempts": [1]}], slow_seconds=0.1)
    with pytest.raises(openai.APITimeoutError):
        _ask(fresh, PLAIN, timeout=0.03)
    fresh.wait_for(lambda stats: stats["outcomes"] == {"client_gone": 1} and not stats["in_flight"])
    fresh.configure(faults=[{"fault": "slow", "attempts": [2]}], slow_seconds=0.1)
    assert _text(fresh, PLAIN)
    second = fresh.requests[1]
    assert second.outcome == "slow"
    assert (second.answered_at or 0) - second.received_at > 0.09
    assert fresh.stats()["ok"] == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_hangs_is_under_way_until_the_client_goes(fresh: ScriptedServer, stream: bool) -> None:
    fresh.configure(faults=[{"fault": "hang"}])
    with pytest.raises(openai.APITimeoutError):
        _ask(fresh, PLAIN, stream=stream, timeout=0.05)
    stats = fresh.wait_for(lambda stats: not stats["in_flight"])
    assert (stats["outcomes"], stats["peak_in_flight"], fresh.requests[0].answered_at) == ({"hang": 1}, 1, None)


@pytest.mark.parametrize("stream", [False, True])
def test_a_drip_outlives_the_client_s_read_timeout(fresh: ScriptedServer, stream: bool) -> None:
    fresh.configure(faults=[{"fault": "drip"}], drip_seconds=0.02)

    async def ask() -> None:
        async with openai.AsyncOpenAI(base_url=fresh.base_url, api_key="k", max_retries=0, timeout=0.1) as client:
            reply = await cast(Any, client.chat.completions.create)(model="m", messages=LONG, stream=stream)
            async for _ in reply:
                pass

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(ask(), 0.4))
    assert fresh.wait_for(lambda stats: not stats["in_flight"])["outcomes"] == {"drip": 1}


def test_a_client_that_leaves_in_the_middle_of_a_stream_is_not_counted_as_served(fresh: ScriptedServer) -> None:
    fresh.configure(chunk_seconds=0.02)
    with _client(fresh) as client, client.chat.completions.create(model="m", messages=LONG, stream=True) as stream:
        next(stream)
    stats = fresh.wait_for(lambda stats: not stats["in_flight"])
    fresh.configure(chunk_seconds=0)
    assert (stats["outcomes"], stats["ok"]) == ({"client_gone": 1}, 0)


def test_a_plan_hits_the_attempts_it_names_of_the_calls_it_matches(fresh: ScriptedServer) -> None:
    fresh.configure(faults=[Fault("500", match=r"topic-\d", attempts=(1, 3))])
    seen = [_outcome(fresh, PLAIN) for _ in range(4)]
    assert (seen, _outcome(fresh, "about other things")) == (["500", "ok", "500", "ok"], "ok")


def test_a_plan_may_name_the_turn_of_a_conversation(fresh: ScriptedServer) -> None:
    fresh.configure(faults=[{"fault": "503", "turn": 2}])
    with pytest.raises(openai.InternalServerError):
        _replies(fresh, "@call search\n@answer: ok")
    assert [one.outcome for one in fresh.requests] == ["ok", "503"]


def _outcome(server: ScriptedServer, prompt: str) -> str:
    with contextlib.suppress(openai.APIError):
        _ask(server, prompt)
    return server.requests[-1].outcome


def test_rates_hit_the_same_attempts_on_every_server_in_any_order() -> None:
    prompts = [f"about topic-{n}" for n in range(12)]

    def outcomes(seed: int, order: list[str]) -> dict[tuple[str, int], str]:
        rates = {"500": 0.3, "drop": 0.2, "429": 0.2}
        with ScriptedServer(rates=rates, seed=seed) as server:
            for prompt in [*order, *order]:
                _outcome(server, prompt)
            return {(one.call, one.attempt): one.outcome for one in server.requests}

    first = outcomes(7, prompts)
    assert outcomes(7, prompts[::-1]) == first
    assert outcomes(8, prompts) != first
    assert set(first.values()) == {"ok", "500", "drop", "429"}


def test_rates_leave_a_call_alone_after_its_most_faults() -> None:
    with ScriptedServer(rates={"500": 1.0}, max_faults=2) as server:
        assert [_outcome(server, PLAIN) for _ in range(4)] == ["500", "500", "ok", "ok"]


def test_latency_is_a_pure_function_of_seed_call_and_attempt() -> None:
    def delay(seed: int, call: str, attempt: int) -> float:
        request = Request(1, call, attempt, 1, False, {}, 0.0)
        return draw(Settings(latency="lognormal:800:0.6", seed=seed), (), request, Call())[0]

    delays = [delay(1, call, attempt) for call in "abcdefgh" for attempt in range(25)]
    assert delays == [delay(1, call, attempt) for call in "abcdefgh" for attempt in range(25)]
    assert len(set(delays)) == 200
    assert 0.65 < sorted(delays)[100] < 1.0
    assert delay(2, "a", 0) != delays[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"latency": "slow"},
        {"rates": {"418": 0.1}},
        {"faults": [{"fault": "nope"}]},
        {"faults": [{"fault": "500", "macth": "x"}]},
        {"faults": [{"fault": "500", "match": "("}]},
        {"colour": "red"},
    ],
)
def test_a_wrong_setting_is_refused_and_changes_nothing(fresh: ScriptedServer, settings: Json) -> None:
    with pytest.raises(ValueError, match=r"."):
        fresh.configure(**settings)
    assert _text(fresh, PLAIN)


# What it costs, keeps and counts


def test_a_connection_is_kept_also_after_refusals_and_streams(fresh: ScriptedServer) -> None:
    fresh.configure(faults=[{"fault": "500", "attempts": [2]}])
    with httpx.Client(base_url=fresh.base_url) as client:
        for stream in (False, False, True, False):
            client.post("/chat/completions", json={"messages": _talk(PLAIN), "stream": stream})
    assert [one.outcome for one in fresh.requests] == ["ok", "500", "ok", "ok"]
    assert len({one.connection for one in fresh.requests}) == 1


def test_the_openai_client_keeps_its_connection(fresh: ScriptedServer) -> None:
    with _client(fresh) as client:
        for _ in range(3):
            client.chat.completions.create(model="m", messages=LONG)
    assert len({one.connection for one in fresh.requests}) == 1


def test_a_connection_is_closed_when_the_client_asks_for_it(fresh: ScriptedServer) -> None:
    with httpx.Client(base_url=fresh.base_url, headers={"connection": "close"}) as client:
        for _ in range(2):
            assert client.post("/chat/completions", json={"messages": _talk(PLAIN)}).is_success
    assert len({one.connection for one in fresh.requests}) == 2


def test_64_calls_are_under_way_at_once_without_a_thread_for_each(fresh: ScriptedServer) -> None:
    fresh.configure(latency="300")
    threads = threading.active_count()
    seen: list[int] = []

    async def ask_all() -> None:
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=fresh.base_url, limits=limits, timeout=10) as client:
            bodies = [{"model": "m", "messages": _talk(f"topic-{n}")} for n in range(64)]
            replies = await asyncio.gather(*(client.post("/chat/completions", json=body) for body in bodies))
            seen.append(threading.active_count())
            assert {reply.status_code for reply in replies} == {200}

    asyncio.run(ask_all())
    stats = fresh.stats()
    assert (stats["peak_in_flight"], stats["ok"], stats["logical_calls"]) == (64, 64, 64)
    assert seen == [threads]


def test_a_request_is_kept_whole_but_never_its_key(fresh: ScriptedServer) -> None:
    _ask(fresh, PLAIN, temperature=0.5)
    request = fresh.requests[0]
    assert request.body == {"model": "m", "messages": _talk(PLAIN), "temperature": 0.5}
    assert (request.number, request.attempt, request.has_key, request.outcome) == (1, 1, True, "ok")
    assert request.received_at <= (request.answered_at or 0) <= time.time()
    assert "secret" not in repr(vars(request))
    httpx.post(f"{fresh.base_url}/chat/completions", json={"messages": _talk(PLAIN)})
    assert (fresh.requests[1].has_key, fresh.requests[1].attempt) == (False, 2)


def test_a_call_answered_twice_is_paid_twice(fresh: ScriptedServer) -> None:
    fresh.configure(faults=[{"match": "topic-1", "attempts": [1], "fault": "500"}])
    for prompt in ("topic-1", "topic-1", "topic-2", "topic-2", "topic-3"):
        _outcome(fresh, prompt)
    stats = fresh.stats()
    counts = {name: stats[name] for name in ("attempts", "ok", "logical_calls", "retried", "paid_twice", "never_ok")}
    assert counts == {"attempts": 5, "ok": 4, "logical_calls": 3, "retried": 2, "paid_twice": 1, "never_ok": 0}
    assert stats["outcomes"] == {"500": 1, "ok": 4}


def test_a_reset_forgets_attempts_and_counts(fresh: ScriptedServer) -> None:
    _ask(fresh, PLAIN)
    fresh.reset()
    assert (fresh.requests, fresh.stats()["attempts"]) == ([], 0)
    _ask(fresh, PLAIN)
    assert fresh.requests[0].attempt == 1


def test_only_the_newest_requests_are_kept() -> None:
    with ScriptedServer(keep_requests=2) as server:
        for n in range(4):
            _ask(server, f"topic-{n}")
        assert [one.number for one in server.requests] == [3, 4]


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"messages": [1]}'])
def test_a_body_that_is_no_request_is_refused(fresh: ScriptedServer, body: bytes) -> None:
    reply = httpx.post(f"{fresh.base_url}/chat/completions", content=body)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")
    assert _text(fresh, PLAIN)


def test_a_large_request_is_taken_in_pieces(fresh: ScriptedServer) -> None:
    assert _ask(fresh, "about moss " * 200_000).usage.prompt_tokens > 500_000


def test_a_port_in_use_is_an_error(fresh: ScriptedServer) -> None:
    with pytest.raises(OSError, match="in use"), ScriptedServer(port=fresh.port):
        pass


def test_what_was_counted_can_be_read_after_the_server_stopped() -> None:
    with ScriptedServer() as server:
        _ask(server, PLAIN)
    assert (server.stats()["ok"], len(server.requests)) == (1, 1)


# As its own process

_FILE = Path(__file__).with_name("scripted_server.py")


def _http(port: int, path: str, body: Json | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", data), timeout=60) as reply:
        return json.load(reply)


def test_as_a_process_it_tells_its_port_and_is_steered_over_http(tmp_path: Path) -> None:
    command = [sys.executable, str(_FILE), "--port", "0", "--rate", "500=1", "--max-faults", "1", "--answer-words", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout
        port = int(re.fullmatch(r"listening on (\d+)\n", process.stdout.readline())[1])  # type: ignore[index]
        with pytest.raises(urllib.error.HTTPError):
            _http(port, "/v1/chat/completions", {"messages": _talk(PLAIN)})
        answer = _http(port, "/v1/chat/completions", {"messages": _talk(PLAIN)})["choices"][0]["message"]["content"]
        requests = _http(port, "/_requests")
        stats = _http(port, "/_stats")
        settings = _http(port, "/_config", {"rates": {}, "faults": [{"fault": "401", "match": "x"}], "latency": 5})
        _http(port, "/_reset", {})
        after = _http(port, "/_stats")
        process.terminate()
        assert process.wait(60) == 0
    assert answer == f"Researcher result for topic-7. Inputs {requests[0]['call']}."
    assert [(one["attempt"], one["outcome"], one["has_key"]) for one in requests] == [
        (1, "500", False),
        (2, "ok", False),
    ]
    assert stats["outcomes"] == {"500": 1, "ok": 1}
    assert (settings["rates"], settings["latency"], settings["faults"][0]["fault"]) == ({}, "5", "401")
    assert after["attempts"] == 0


def test_a_wrong_flag_ends_the_process_with_what_is_allowed() -> None:
    done = subprocess.run([sys.executable, str(_FILE), "--rate", "418=1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"no such fault: 418; one of: {', '.join(FAULTS)}" in done.stderr
