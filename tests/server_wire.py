"""The scripted server's settings and faults, and the bytes it sends; what the faults mean stands in scripted_server.py.

Everything here is a pure function, but for the date in one of the Retry-After headers.
"""

import json
import math
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from tests.server_script import Json, Reply, Turn

REFUSALS: dict[str, tuple[int, str, str | None, str]] = {
    "400": (400, "invalid_request_error", None, "Invalid request"),
    "401": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided"),
    "404": (404, "invalid_request_error", "model_not_found", "The model does not exist or is not yours to use"),
    "429": (429, "requests", "rate_limit_exceeded", "Rate limit reached"),
    "429-date": (429, "requests", "rate_limit_exceeded", "Rate limit reached"),
    "429-ms": (429, "requests", "rate_limit_exceeded", "Rate limit reached"),
    "429-bare": (429, "requests", "rate_limit_exceeded", "Rate limit reached"),
    "quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota"),
    "500": (500, "server_error", None, "The server had an error while processing your request"),
    "502": (502, "", None, "<html><body><h1>502 Bad Gateway</h1></body></html>"),
    "503": (503, "server_error", "overloaded", "The engine is currently overloaded"),
    "context-length": (400, "invalid_request_error", "context_length_exceeded", ""),
    "context-size": (400, "exceed_context_size_error", None, ""),
}
FAULTS = (*REFUSALS, "drop", "truncate", "short", "malformed", "error-body", "empty-choices", "slow", "hang", "drip")
_PIECE = 64  # characters of text or arguments in one streamed chunk
CREATED = 1_700_000_000  # fixed: the same question is answered with the same bytes


@dataclass(frozen=True)
class Fault:
    """An exact plan: which attempts at which calls go wrong, and how."""

    fault: str
    """One of FAULTS."""
    match: str = ""
    """Regular expression, searched in the text of all messages."""
    attempts: tuple[int, ...] | None = None
    """Attempts at a logical call, from 1. None: all of them."""
    turn: int | None = None
    """Model call within a conversation, from 1: one more than the assistant messages sent. None: any."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.match)
        except re.error as error:
            raise ValueError(f"match: {error}: {self.match!r}") from error

    def hits(self, turns: tuple[Turn, ...], attempt: int) -> bool:
        """Say whether this attempt goes wrong."""
        if self.attempts is not None and attempt not in self.attempts:
            return False
        if self.turn is not None and self.turn != 1 + sum(turn.role == "assistant" for turn in turns):
            return False
        return re.search(self.match, "\n".join(turn.text for turn in turns)) is not None


@dataclass(frozen=True)
class Settings:
    """What can be changed while the server runs."""

    latency: str = "0"
    """Milliseconds before each reply, or `lognormal:MEDIAN:SIGMA` with the median in milliseconds."""
    rates: Mapping[str, float] = field(default_factory=dict[str, float])
    """Fault → share of attempts, together at most 1."""
    faults: tuple[Fault, ...] = ()
    """Exact plans; the first that fits wins, before any rate."""
    max_faults: int = 0
    """Faults after which `rates` leave a logical call alone; 0: no limit."""
    seed: int = 1
    """Of latency and rates."""
    retry_after_seconds: float = 1.0
    """What a 429 asks for. A date has whole seconds only and is rounded up."""
    slow_seconds: float = 5.0
    """Delay of the fault `slow`."""
    drip_seconds: float = 1.0
    """Pause between two bytes of the fault `drip`."""
    chunk_seconds: float = 0.0
    """Pause between two chunks of a stream."""
    answer_words: int = 40
    """Words in a plain answer, about."""
    context_window: int = 0
    """Prompt tokens above which every call is answered `context-length`; 0: no limit."""
    context_error: str = "context-length"
    """Or `context-size`, as llama.cpp says it."""
    model: str = "scripted"
    """The model that GET /v1/models lists; any other name is served, too."""
    keep_requests: int = 100_000
    """How many of the newest requests are kept for `requests`."""

    def __post_init__(self) -> None:
        unknown = {*self.rates, *(plan.fault for plan in self.faults), self.context_error} - set(FAULTS)
        if unknown:
            raise ValueError(f"no such fault: {', '.join(sorted(unknown))}; one of: {', '.join(FAULTS)}")
        _read_latency(self.latency)


@dataclass
class Request:
    """One attempt at a logical call, as it was asked; the key that came with it is not kept."""

    number: int
    """From 1, in order of arrival since the last reset."""
    call: str
    """The logical call: digest of the messages without ids."""
    attempt: int
    """From 1, for this logical call."""
    connection: int
    """From 1, in order of being opened; the same number means a connection that was kept."""
    has_key: bool
    """Whether a bearer key was sent."""
    body: Json
    """The parsed body."""
    received_at: float
    """UTC, seconds since 1970."""
    answered_at: float | None = None
    """UTC, seconds since 1970; None while under way, and for ever after `hang` and `drip`."""
    outcome: str = ""
    """`ok`, a fault, `client_gone`, `script_error`; empty while under way."""

    @property
    def messages(self) -> list[Json]:
        """The messages of the body."""
        return self.body["messages"]


@dataclass
class Call:
    """What happened to one logical call."""

    attempts: int = 0
    ok: int = 0
    faults: int = 0


@dataclass(frozen=True, eq=False)
class Exchange:
    """One attempt while it is under way."""

    request: Request
    turns: tuple[Turn, ...]
    call: Call
    delay_seconds: float
    fault: str

    @property
    def prompt_tokens(self) -> int:
        return len("\n".join(turn.text for turn in self.turns)) // 4

    @property
    def streams(self) -> bool:
        return bool(self.request.body.get("stream"))

    @property
    def kind(self) -> str:
        return "text/event-stream" if self.streams else "application/json"


def http_head(status: int, kind: str, length: int | None, header: str = "") -> bytes:
    """Return the head of a response; no length means that the body comes in chunks."""
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {kind}\r\n{size}\r\n{header}\r\n".encode()


def http_chunk(piece: bytes) -> bytes:
    """Return a piece of a body that comes in chunks."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def error_body(kind: str, code: str | None, message: str) -> Json:
    """Return an error as OpenAI words it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def refusal(fault: str, exchange: Exchange, settings: Settings) -> tuple[int, str, bytes, str]:
    """Return status, content type, body and header lines of a fault in REFUSALS."""
    status, kind, code, message = REFUSALS[fault]
    if fault == "502":
        return status, "text/html", message.encode(), ""
    if fault in ("context-length", "context-size"):
        body = _context_error(fault, exchange.prompt_tokens, settings.context_window)
    else:
        body = error_body(kind, code, message)
    return status, "application/json", json.dumps(body).encode(), _retry_header(fault, settings.retry_after_seconds)


def _context_error(fault: str, tokens: int, window: int) -> Json:
    window = window or max(1, tokens - 1)
    if fault == "context-size":
        message = f"request ({tokens} tokens) exceeds the available context size ({window} tokens), try increasing it"
        kind = "exceed_context_size_error"
        return {"error": {"code": 400, "message": message, "type": kind, "n_prompt_tokens": tokens, "n_ctx": window}}
    message = (
        f"This model's maximum context length is {window} tokens. However, your messages resulted in {tokens} tokens."
    )
    return error_body("invalid_request_error", "context_length_exceeded", message)


def _retry_header(fault: str, seconds: float) -> str:
    if fault == "429":
        return f"retry-after: {seconds:.10g}\r\n"
    if fault == "429-ms":
        return f"retry-after-ms: {seconds * 1000:.10g}\r\n"
    if fault == "429-date":
        return f"retry-after: {formatdate(math.ceil(time.time() + seconds), usegmt=True)}\r\n"
    return ""


def usage_of(exchange: Exchange, reply: Reply) -> Json:
    """Return the tokens of a reply as the API reports them; four characters are one token."""
    said = len(reply.text) + sum(len(call.name) + len(call.arguments) for call in reply.calls)
    prompt, completion = exchange.prompt_tokens, max(1, said // 4)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
    }


def reply_pieces(exchange: Exchange, reply: Reply, usage: Json, fault: str) -> list[bytes]:
    """Return the body of a reply: one piece, or the events of a stream."""
    kind = "chat.completion.chunk" if exchange.streams else "chat.completion"
    model = exchange.request.body.get("model")
    head: Json = {"id": f"chatcmpl-{exchange.request.call}", "object": kind, "created": CREATED, "model": model}
    if fault == "error-body":
        values: list[Json] = [error_body("server_error", None, "The provider behind this server failed")]
    elif fault == "empty-choices":
        values = [{**head, "choices": [], "usage": usage}]
    elif exchange.streams:
        values = [{**head, **chunk} for chunk in _chunks(exchange, reply, usage)]
    else:
        values = [{**head, **_completion(exchange, reply), "usage": usage}]
    bodies = [json.dumps(value).encode() for value in values]
    if fault == "short" and exchange.streams:
        bodies = bodies[: len(bodies) // 2]
    elif fault in ("short", "malformed"):
        bodies[-1] = bodies[-1][: len(bodies[-1]) // 2]
    if not exchange.streams:
        return bodies
    return [b"data: %b\n\n" % body for body in bodies] + ([] if fault == "short" else [b"data: [DONE]\n\n"])


def _completion(exchange: Exchange, reply: Reply) -> Json:
    calls = _wire_calls(exchange, reply)
    message: Json = {"role": "assistant", "content": None if calls and not reply.text else reply.text, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    return {"choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply)}]}


def _chunks(exchange: Exchange, reply: Reply, usage: Json) -> list[Json]:
    calls = _wire_calls(exchange, reply)
    deltas: list[Json] = [{"role": "assistant", "content": None if calls and not reply.text else ""}]
    deltas += [{"content": piece} for piece in _cut(reply.text)]
    for index, call in enumerate(calls):
        function = {"name": call["function"]["name"], "arguments": ""}
        deltas.append({"tool_calls": [{**call, "index": index, "function": function}]})
        for piece in _cut(call["function"]["arguments"]):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    chunks: list[Json] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": _finish(reply)}]})
    options: Json = exchange.request.body.get("stream_options") or {}
    if options.get("include_usage"):
        chunks.append({"choices": [], "usage": usage})
    return chunks


def _wire_calls(exchange: Exchange, reply: Reply) -> list[Json]:
    # Ids from the conversation alone: an attempt that is made again, or by another server, gets the same ones.
    name = f"call_{exchange.request.call}"
    return [
        {"id": f"{name}_{at}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for at, call in enumerate(reply.calls)
    ]


def _finish(reply: Reply) -> str:
    return reply.finish or ("tool_calls" if reply.calls else "stop")


def _cut(text: str) -> list[str]:
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]


def draw(settings: Settings, turns: tuple[Turn, ...], request: Request, call: Call) -> tuple[float, str]:
    """Return the delay in seconds and the fault, empty for none, of one attempt."""
    key = f"{settings.seed}:{request.call}:{request.attempt}"
    median, sigma = _read_latency(settings.latency)
    delay = median / 1000
    if sigma:
        delay *= random.Random(f"latency:{key}").lognormvariate(0.0, sigma)
    fault = next((plan.fault for plan in settings.faults if plan.hits(turns, request.attempt)), "")
    if not fault and settings.rates and not 0 < settings.max_faults <= call.faults:
        dice = random.Random(f"fault:{key}").random()
        for name, share in sorted(settings.rates.items()):
            dice -= share
            if dice < 0:
                fault = name
                break
    return delay + (settings.slow_seconds if fault == "slow" else 0.0), fault


def _read_latency(text: str) -> tuple[float, float]:
    """Return the median in milliseconds and the sigma of a log-normal distribution."""
    kind, *numbers = text.split(":")
    if kind == "lognormal" and len(numbers) == 2:
        return float(numbers[0]), float(numbers[1])
    return float(text), 0.0


def changed(settings: Settings, values: Json) -> Settings:
    """Return the settings with those that are named. Raises ValueError for a name or a value that is wrong."""
    changes: Json = {}
    for name, value in values.items():
        if name not in {one.name for one in fields(Settings)}:
            raise ValueError(f"no such setting: {name}")
        if name == "faults":
            changes[name] = tuple(_plan(plan) for plan in value)
        elif name == "rates":
            changes[name] = {str(fault): float(share) for fault, share in value.items()}
        else:
            changes[name] = type(getattr(settings, name))(value)
    return replace(settings, **changes)


def _plan(plan: Fault | Json) -> Fault:
    if isinstance(plan, Fault):
        return plan
    attempts = plan.get("attempts")
    values: dict[str, Any] = {**plan, "attempts": None if attempts is None else tuple(attempts)}
    try:
        return Fault(**values)
    except TypeError as error:
        raise ValueError(f"wrong plan: {plan}: {error}") from error
