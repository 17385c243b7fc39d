"""A scripted OpenAI-compatible server with faults, for tests, chaos trials and benchmarks. Listens on 127.0.0.1 only.

    with ScriptedServer(rates={"429": 0.1}, seed=7) as server: ...        # in a thread of this process
    python tests/scripted_server.py --port 0 --latency lognormal:800:0.6 --rate 429=0.1 --rate drop=0.05

    POST /v1/chat/completions   whole and streamed; tools, usage, response_format      GET /v1/models
    GET  /_stats    counts                                 GET  /_requests    what was asked, in order
    POST /_config   {"latency": "50", "rates": {"500": 1}} change settings             POST /_reset   forget counts

What it says is in server_script.py. A *logical call* is one conversation (its digest, without ids); asking again is
another *attempt* at it. Latency and faults are drawn from (seed, logical call, attempt), so the same run meets the same
faults in whatever order its calls come. Faults, for `rates` (shares of attempts) and `faults` (exact plans):

    429 429-date 429-ms 429-bare    rate limit; Retry-After as seconds, as HTTP date, retry-after-ms, no header
    quota                           429 that no waiting mends (insufficient_quota)
    400 401 404 500 502 503         refused; 404: no such model, 502: a proxy's HTML page
    context-length context-size     400, too many tokens, as OpenAI and as llama.cpp say it
    drop truncate short             closed before the reply; in the middle of it; a reply that ends early but politely
    malformed error-body            200 with broken JSON; 200 with an error object
    empty-choices                   200 without a choice
    slow hang drip                  late by `slow_seconds`; never; one byte every `drip_seconds`, for ever
"""

import argparse
import asyncio
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self, TypeVar, cast

if not __package__:  # Run as a file, this folder is on the path instead of the checkout.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tests import server_script
from tests.server_script import Json, Reply, Script, ToolCall, Turn, digest, offered_tools, read_turns, scripted_reply
from tests.server_wire import (
    CREATED,
    FAULTS,
    REFUSALS,
    Call,
    Exchange,
    Fault,
    Request,
    Settings,
    changed,
    draw,
    error_body,
    http_chunk,
    http_head,
    refusal,
    reply_pieces,
    usage_of,
)

__all__ = ["FAULTS", "Fault", "Reply", "Request", "ScriptedServer", "Settings", "ToolCall"]

_Value = TypeVar("_Value")


class ScriptedServer:
    """The server in a thread of this process, for `with`; its attributes may be used from any thread."""

    def __init__(self, script: Script | None = None, *, port: int = 0, **settings: Any) -> None:
        """Take a script (messages, tools → Reply) in place of the built-in one, and settings by name."""
        self.port = port
        self._desk = _Desk(script, changed(Settings(), settings))
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        ready: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="scripted-server", daemon=True)
        self._thread.start()
        self.port = ready.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop and self._stop and self._thread:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
        self._loop = None

    @property
    def base_url(self) -> str:
        """What an OpenAI client wants as its `base_url`."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[Request]:
        """All attempts in order of arrival, those under way included."""
        return self._in_loop(lambda: list(self._desk.requests))

    def stats(self) -> Json:
        """Return the counts since the last reset; the keys are those of GET /_stats."""
        return self._in_loop(self._desk.stats)

    def reset(self) -> None:
        """Forget requests, attempts and counts; settings and connections stay."""
        self._in_loop(self._desk.reset)

    def configure(self, **settings: Any) -> None:
        """Change settings by name. Raises ValueError for one that does not exist or is wrong."""
        self._in_loop(lambda: self._desk.configure(settings))

    def wait_for(self, condition: Callable[[Json], object], timeout_seconds: float = 60.0) -> Json:
        """Return the stats as soon as they meet the condition. Raises TimeoutError."""
        until = time.monotonic() + timeout_seconds
        while not condition(stats := self.stats()):
            if time.monotonic() > until:
                raise TimeoutError(f"the server did not get there: {stats}")
            time.sleep(0.005)
        return stats

    def _run(self, ready: "Future[int]") -> None:
        try:
            asyncio.run(self._serve(ready))
        except OSError as error:
            ready.set_exception(error)

    async def _serve(self, ready: "Future[int]") -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await _serve(self._desk, self.port, self._stop, ready.set_result)

    def _in_loop(self, function: Callable[[], _Value]) -> _Value:
        if self._loop is None or threading.current_thread() is self._thread:
            return function()
        result: Future[_Value] = Future()

        def call() -> None:
            try:
                result.set_result(function())
            except Exception as error:
                result.set_exception(error)

        self._loop.call_soon_threadsafe(call)
        return result.result(10)


async def _serve(desk: "_Desk", port: int, stop: asyncio.Event, ready: Callable[[int], None]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(desk), "127.0.0.1", port, backlog=1024)
    ready(server.sockets[0].getsockname()[1])
    try:
        await stop.wait()
    finally:
        server.close()
        desk.hang_up()
        await asyncio.sleep(0)  # So that the lost connections are counted.


class _Desk:
    """What the server remembers. Lives in the loop's thread."""

    def __init__(self, script: Script | None, settings: Settings) -> None:
        self.script = script
        self.settings = settings
        self.connections: set[_Connection] = set()
        self.opened = self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        self.calls: dict[str, Call] = {}
        self.requests: list[Request] = []
        self.outcomes: Counter[str] = Counter()
        self.tool_calls: Counter[str] = Counter()
        self.attempts = self.prompt_tokens = self.completion_tokens = 0
        self.peak_in_flight = self.in_flight

    def configure(self, values: Json) -> None:
        self.settings = changed(self.settings, values)

    def hang_up(self) -> None:
        for connection in list(self.connections):
            connection.hang_up()

    def stats(self) -> Json:
        calls = self.calls.values()
        return {
            "attempts": self.attempts,
            "ok": sum(call.ok for call in calls),
            "logical_calls": len(calls),
            "retried": sum(call.attempts > 1 for call in calls),
            "paid_twice": sum(call.ok > 1 for call in calls),
            "never_ok": sum(call.ok == 0 for call in calls),
            "outcomes": dict(sorted(self.outcomes.items())),
            "tool_calls": dict(sorted(self.tool_calls.items())),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "connections": self.opened,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
        }

    def open(self, body: Json, turns: tuple[Turn, ...], connection: int, has_key: bool) -> "Exchange":
        key = digest(turns)
        call = self.calls.setdefault(key, Call())
        call.attempts += 1
        self.attempts += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        request = Request(self.attempts, key, call.attempts, connection, has_key, body, time.time())
        self.requests.append(request)
        del self.requests[: -self.settings.keep_requests or len(self.requests)]
        delay, fault = draw(self.settings, turns, request, call)
        call.faults += bool(fault)
        return Exchange(request, turns, call, delay, fault)

    def answer(self, exchange: "Exchange") -> Reply:
        body = exchange.request.body
        if self.script is None:
            return scripted_reply(body, self.settings.answer_words)
        return self.script(body["messages"], offered_tools(body))

    def pay(self, exchange: "Exchange", reply: Reply, usage: Json) -> None:
        exchange.call.ok += 1
        self.prompt_tokens += usage["prompt_tokens"]
        self.completion_tokens += usage["completion_tokens"]
        self.tool_calls.update(call.name for call in reply.calls)

    def close(self, exchange: "Exchange", outcome: str) -> None:
        """End an exchange; its outcome stands if it has one."""
        self.in_flight -= 1
        if not exchange.request.outcome:
            exchange.request.answered_at = time.time()
            self.note(exchange, outcome)

    def note(self, exchange: "Exchange", outcome: str) -> None:
        exchange.request.outcome = outcome
        self.outcomes[outcome] += 1


class _Connection(asyncio.Protocol):
    """HTTP/1.1 on one connection, one request after the other."""

    def __init__(self, desk: _Desk) -> None:
        self._desk = desk
        self._buffer = bytearray()
        self._exchange: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport
        self._close = False
        desk.opened += 1
        self._number = desk.opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)
        self._desk.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._desk.connections.discard(self)
        if self._timer:
            self._timer.cancel()
        if self._exchange:
            self._done("client_gone")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def hang_up(self) -> None:
        self._wire.abort()

    def _advance(self) -> None:
        while self._exchange is None and not self._wire.is_closing():
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            line, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
            size = int(headers.get("content-length", 0))
            if len(self._buffer) < end + 4 + size:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + size])
            del self._buffer[: end + 4 + size]
            self._close = headers.get("connection", "").lower() == "close"
            method, path, *_ = line.split(" ")
            self._route(f"{method} {path.split('?')[0]}", headers, body)

    def _route(self, door: str, headers: Mapping[str, str], body: bytes) -> None:
        desk = self._desk
        try:
            if door.startswith("POST ") and door.endswith("/chat/completions"):
                self._chat(json.loads(body), headers.get("authorization", "").lower().startswith("bearer "))
            elif door.startswith("GET ") and door.endswith("/models"):
                model = {"id": desk.settings.model, "object": "model", "created": CREATED, "owned_by": "tests"}
                self._send_json(200, {"object": "list", "data": [model]})
            elif door == "GET /_stats":
                self._send_json(200, desk.stats())
            elif door == "GET /_requests":
                self._send_json(200, [vars(request) for request in desk.requests])
            elif door == "POST /_config":
                desk.configure(json.loads(body))
                self._send_json(200, asdict(desk.settings))
            elif door == "POST /_reset":
                desk.reset()
                self._send_json(200, {})
            else:
                self._send_json(404, error_body("invalid_request_error", None, f"no such door: {door}"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._send_json(400, error_body("invalid_request_error", None, f"{type(error).__name__}: {error}"))

    def _chat(self, body: Json, has_key: bool) -> None:
        exchange = self._desk.open(body, read_turns(body["messages"]), self._number, has_key)
        self._exchange = exchange
        if exchange.fault == "hang":
            self._desk.note(exchange, "hang")
        elif exchange.delay_seconds:
            self._later(exchange.delay_seconds, lambda: self._reply(exchange))
        else:
            self._reply(exchange)

    def _reply(self, exchange: Exchange) -> None:
        settings, fault = self._desk.settings, exchange.fault
        if settings.context_window and exchange.prompt_tokens > settings.context_window:
            fault = settings.context_error
        if fault in REFUSALS:
            self._done(fault)
            self._send(*refusal(fault, exchange, settings))
        elif fault == "drop":
            self._done(fault)
            self._wire.abort()
        elif fault == "drip":
            self._desk.note(exchange, fault)
            self._wire.write(http_head(200, exchange.kind, None))
            self._drip(http_chunk(b":" if exchange.streams else b" "))
        else:
            self._say(exchange, fault)

    def _say(self, exchange: Exchange, fault: str) -> None:
        try:
            reply = self._desk.answer(exchange)
            usage = usage_of(exchange, reply)
            pieces = reply_pieces(exchange, reply, usage, fault)
        except Exception as error:  # A mistake in a test's own script must show in the test, not here.
            self._done("script_error")
            problem = f"{type(error).__name__}: {error}"
            self._send_json(400, error_body("invalid_request_error", "script_error", problem))
            return

        def settle() -> None:
            if fault in ("", "slow"):
                self._desk.pay(exchange, reply, usage)
            self._done(fault or "ok")

        if exchange.streams:
            pieces = [http_head(200, exchange.kind, None), *map(http_chunk, pieces), b"0\r\n\r\n"]
        else:
            pieces = [http_head(200, exchange.kind, len(pieces[0])) + pieces[0]]
        if fault == "truncate":
            half = len(pieces) // 2
            pieces = [*pieces[:half], pieces[half][: len(pieces[half]) // 2]]
        self._write(pieces, settle, fault == "truncate")

    def _write(self, pieces: list[bytes], settle: Callable[[], None], close: bool) -> None:
        pause = self._desk.settings.chunk_seconds
        now = pieces[:1] if pause else pieces
        rest = pieces[len(now) :]
        if rest:
            self._wire.write(b"".join(now))
            self._later(pause, lambda: self._write(rest, settle, close))
            return
        # Counted before it is sent: who has read the reply finds it in the stats.
        settle()
        self._wire.write(b"".join(now))
        if close or self._close:
            self._wire.close()

    def _drip(self, drop: bytes) -> None:
        self._wire.write(drop)
        self._later(self._desk.settings.drip_seconds, lambda: self._drip(drop))

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        def act() -> None:
            function()
            self._advance()

        self._timer = asyncio.get_running_loop().call_later(seconds, act)

    def _done(self, outcome: str) -> None:
        exchange, self._exchange, self._timer = self._exchange, None, None
        if exchange:
            self._desk.close(exchange, outcome)

    def _send_json(self, status: int, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, kind: str, body: bytes, header: str = "") -> None:
        self._wire.write(http_head(status, kind, len(body), header) + body)
        if self._close:
            self._wire.close()


async def _stand_alone(port: int, settings: Settings) -> None:
    stop = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    await _serve(_Desk(None, settings), port, stop, lambda port: print(f"listening on {port}", flush=True))


def _main() -> None:
    description = f"{__doc__}\n{server_script.__doc__}"
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any free one; it is printed")
    parser.add_argument("--rate", action="append", default=[], metavar="FAULT=SHARE")
    parser.add_argument("--fault", action="append", default=[], metavar="JSON", help="a plan, as in `faults`")
    plain = [one.name for one in fields(Settings) if one.name not in ("rates", "faults")]
    for name in plain:
        parser.add_argument(f"--{name.replace('_', '-')}", default=getattr(Settings, name))
    given = vars(parser.parse_args())
    values: Json = {name: given[name] for name in plain}
    try:
        values["rates"] = dict(rate.split("=") for rate in given["rate"])
        values["faults"] = [json.loads(plan) for plan in given["fault"]]
        settings = changed(Settings(), values)
    except ValueError as error:
        parser.error(str(error))
    asyncio.run(_stand_alone(given["port"], settings))


if __name__ == "__main__":
    _main()
