"""ModelSpec → a provider of CrewAI's, asked once per attempt: no retries, no hidden calls, a hard deadline."""

import contextvars
import json
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, cast

import httpx
from crewai import LLM
from crewai.llms.base_llm import BaseLLM

from models.answer import Answer, ErrorKind, ModelError, ToolCall, Usage, estimate_tokens
from models.answer_types import build_answer_types
from models.keys import key_variable
from project.errors import AppError
from project.secrets import Redactor
from project.spec import ModelSpec

# Extras of the distribution, by the provider that needs one.
_EXTRAS = {
    "anthropic": "anthropic",
    "claude": "anthropic",
    "gemini": "gemini",
    "google": "gemini",
    "bedrock": "bedrock",
    "aws": "bedrock",
    "azure": "azure",
    "azure_openai": "azure",
}
# Providers whose class CrewAI picks by `provider=`, whatever the model is called.
_NATIVE = frozenset(
    {*_EXTRAS, "openai", "openrouter", "deepseek", "ollama", "ollama_chat", "hosted_vllm", "cerebras", "dashscope"}
    | {"snowflake", "deepinfra"}
)
_OVERFLOW = re.compile(
    r"context[_ ](length|window|size)|exceed_context_size|maximum context|prompt is too long|too many tokens", re.I
)
_MARGIN_SECONDS = 0.05


@dataclass(frozen=True)
class _Recorded:
    usage: dict[str, Any]
    finish_reason: str


_recorder = contextvars.ContextVar[list[_Recorded] | None]("muster_model_recorder", default=None)
_deadline = contextvars.ContextVar[float | None]("muster_model_deadline", default=None)


@dataclass
class _Attempt:
    """What our transport saw of an attempt."""

    refused: bool = False
    """A connection could not be made, so that nothing of a request was sent."""
    sent: bool = False
    """Something was sent, or nobody can tell."""


_attempt = contextvars.ContextVar[_Attempt | None]("muster_model_attempt", default=None)


@dataclass(frozen=True)
class Model:
    """A provider, ready to be asked from any thread. `name` is the name in models.yaml, `spec` what stands there."""

    name: str
    spec: ModelSpec
    provider: BaseLLM
    context_window: int
    keeps_deadlines: bool = False
    """Whether the provider's own transport ends an exchange in time."""

    def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        timeout_seconds: float,
        most_tokens: int | None = None,
    ) -> Answer:
        """Make one attempt, given up after `timeout_seconds`. Messages and tools in OpenAI's chat form.

        `most_tokens` is how long the answer may be, for a model whose spec does not say.

        Raises: ModelError, classified.
        """
        recorded: list[_Recorded] = []
        limit = {} if most_tokens is None else {_limit_name(self.spec, self.provider): most_tokens}
        llm = self.provider.model_copy(update=limit)
        with _noting(recorded, time.monotonic() + timeout_seconds) as attempt:
            try:
                raw = self._ask_in_time(llm, messages, tools, timeout_seconds)
            except Exception as error:
                raise _classify(error, self, timeout_seconds, attempt) from error
        return _answer(raw, recorded, messages)

    def _ask_in_time(
        self,
        llm: BaseLLM,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        timeout_seconds: float,
    ) -> Any:
        """Call the provider. One whose SDK counts only silence, or nothing, is left alone when the time is up.

        Raises: TimeoutError, and whatever the provider raises.
        """

        def work() -> Any:
            return _call(llm)(llm, list(messages), tools=list(tools) or None)

        return work() if self.keeps_deadlines else _within(timeout_seconds, work)


def _within(seconds: float, work: Callable[[], Any]) -> Any:
    box: dict[str, Any] = {}

    def run() -> None:
        try:
            box["answer"] = work()
        except BaseException as error:
            box["error"] = error

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True, name="model call")
    thread.start()
    thread.join(seconds)
    if "error" in box:
        raise box["error"]
    if "answer" not in box:
        raise TimeoutError
    return box["answer"]


def is_guarded_call() -> bool:
    """Say whether the model call under way in this context came through `Model.ask`."""
    return _recorder.get() is not None


@contextmanager
def _noting(recorded: list[_Recorded], deadline: float) -> Generator[_Attempt]:
    attempt = _Attempt()
    tokens = _recorder.set(recorded), _deadline.set(deadline), _attempt.set(attempt)
    try:
        yield attempt
    finally:
        _recorder.reset(tokens[0])
        _deadline.reset(tokens[1])
        _attempt.reset(tokens[2])


def _call(llm: BaseLLM) -> Callable[..., Any]:
    # CrewAI wraps `call` in retries on 429 of its own; the function below the wrapper makes one attempt.
    call = type(llm).call
    return cast(Callable[..., Any], getattr(call, "__wrapped__", call))


def make_model(name: str, spec: ModelSpec, environ: Mapping[str, str]) -> Model:
    """Build the provider that `spec` describes; keys are read from `environ`.

    Raises: AppError when the provider is unknown, its package is missing or its key is not set.
    """
    prefix, _, model = spec.model.partition("/")
    arguments: dict[str, Any] = {"max_retries": 0, "timeout": spec.timeout_seconds, **spec.parameters}
    for key in ("temperature", "top_p", "seed", "max_tokens"):
        value = getattr(spec, key)
        if value is not None:
            arguments[key] = value
    key_name = spec.api_key_env or key_variable(prefix)
    api_key = environ.get(key_name, "") if key_name else ""
    if spec.base_url:
        arguments |= {"base_url": spec.base_url}
        api_key = api_key or "none"  # local servers want a key in the header and do not read it
    if api_key:
        arguments["api_key"] = api_key
    elif prefix == "openai" or (prefix not in _LOCAL and key_name and prefix in _NATIVE):
        fix = f"set {key_name} in the environment or in .env"
        raise AppError(f"model {name!r} ({spec.model}) needs a key", fix=fix, exit_code=3)
    if prefix in _NATIVE:
        arguments |= {"model": model, "provider": prefix}
        if prefix == "openai" and spec.base_url:
            arguments["custom_openai"] = True
    else:
        arguments["model"] = spec.model
    provider = _build(name, spec, prefix, arguments)
    if spec.max_tokens is not None and (limit_name := _limit_name(spec, provider)) != "max_tokens":
        provider = provider.model_copy(update={"max_tokens": None, limit_name: spec.max_tokens})
    keeps_deadlines = _harden(provider, spec)
    window = spec.context_window or int(provider.get_context_window_size())
    return Model(name, spec, provider, window, keeps_deadlines)


def _limit_name(spec: ModelSpec, provider: BaseLLM) -> str:
    """Return the field of CrewAI's provider that holds the most output tokens of an answer and is really sent."""
    prefix = spec.model.partition("/")[0]
    if prefix in ("gemini", "google"):
        return "max_output_tokens"
    host = str(getattr(getattr(getattr(provider, "_client", None), "base_url", None), "host", ""))
    # OpenAI's own reasoning models refuse `max_tokens`; servers like it may not know the other name.
    return "max_completion_tokens" if host.endswith("api.openai.com") else "max_tokens"


_LOCAL = frozenset({"ollama", "ollama_chat", "hosted_vllm", "gemini", "google"})


def _build(name: str, spec: ModelSpec, prefix: str, arguments: dict[str, Any]) -> BaseLLM:
    try:
        return cast(BaseLLM, LLM(**arguments))
    except Exception as error:
        extra = _EXTRAS.get(prefix, "litellm" if prefix not in _NATIVE else "")
        text = str(error).splitlines()[0][:200]
        missing = "not available" in str(error) or extra == "litellm"
        if isinstance(error, ImportError) and extra and missing:
            raise AppError(
                f"model {name!r} ({spec.model}) needs a package that is not installed",
                fix=f"pip install 'crewai[{_CREWAI_EXTRAS[extra]}]==1.15.30'",
                exit_code=3,
            ) from error
        raise AppError(f"model {name!r} ({spec.model}) can't be set up: {text}", exit_code=3) from error


_CREWAI_EXTRAS = {
    "anthropic": "anthropic",
    "gemini": "google-genai",
    "bedrock": "bedrock",
    "azure": "azure-ai-inference",
    "litellm": "litellm",
}


def _harden(provider: BaseLLM, spec: ModelSpec) -> bool:
    """Give the provider our recorder and, where it takes one, our transport; say whether it took it."""
    provider.__class__ = _recording(type(provider))
    client = getattr(provider, "_client", None)
    if client is not None and hasattr(client, "with_options") and type(client).__module__.startswith("openai"):
        # The SDK's own time-out counts silence, so an answer that drips for ever never ends: the transport counts all.
        http = httpx.Client(transport=_DeadlineTransport(), timeout=spec.timeout_seconds)
        client = client.with_options(http_client=http, max_retries=0, timeout=spec.timeout_seconds)
        _ = client.chat.completions  # imports a second's worth of modules, which no call's time should pay for
        build_answer_types()
        provider._client = client  # type: ignore[attr-defined]
        return True
    return False


_classes: dict[type, type] = {}
_classes_lock = threading.Lock()


def _recording(kind: type[BaseLLM]) -> type[BaseLLM]:
    """Derive a class that hands usage and finish reason to the recorder; one for each provider class."""

    def completed(self: BaseLLM, *args: Any, **kwargs: Any) -> None:
        noted = _recorder.get()
        if noted is not None:
            noted.append(_Recorded(dict(kwargs.get("usage") or {}), str(kwargs.get("finish_reason") or "")))

    def silent(self: BaseLLM, *args: Any, **kwargs: Any) -> None:
        return None

    with _classes_lock:
        if kind not in _classes:
            # The bus serialises every prompt twice for listeners we do not have: a fifth of a call's CPU.
            body = {
                "_emit_call_completed_event": completed,
                "_emit_call_started_event": silent,
                "_emit_call_failed_event": silent,
                "call": kind.call,
                "__module__": __name__,
            }
            if any(base.__name__ == "OpenAICompletion" for base in kind.__mro__):
                body["_handle_completion"] = _unlooked(kind)
            _classes[kind] = type(f"Recording{kind.__name__}", (kind,), body)
        return _classes[kind]


def _unlooked(kind: Any) -> Callable[..., Any]:
    """Have OpenAI's SDK send messages and tools as they are; it would look through all their parts for its own types.

    What is sent is the same.
    """

    def handle(self: BaseLLM, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        parts = {name: params[name] for name in ("messages", "tools") if name in params}
        rest = {name: value for name, value in params.items() if name not in parts}
        whole: dict[str, Any] = {**parts, **(params.get("extra_body") or {})}
        return kind._handle_completion(self, {**rest, "messages": [], "extra_body": whole}, *args, **kwargs)

    return handle


class _DeadlineTransport(httpx.BaseTransport):
    """An HTTP transport under which a whole exchange, body included, ends at the caller's deadline."""

    def __init__(self) -> None:
        self._inner = httpx.HTTPTransport(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30)
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = _deadline.get()
        if deadline is None:
            return self._inner.handle_request(request)
        left = max(_MARGIN_SECONDS, deadline - time.monotonic())
        request.extensions["timeout"] = {"connect": min(left, 30.0), "read": left, "write": left, "pool": left}
        with _watching():
            response = self._inner.handle_request(request)
        stream = cast(httpx.SyncByteStream, response.stream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_DeadlineStream(stream, deadline, request),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._inner.close()


@contextmanager
def _watching() -> Generator[None]:
    """Note for the attempt under way whether anything of a request was sent."""
    attempt = _attempt.get() or _Attempt()
    try:
        yield
    except _UNSENT:
        attempt.refused = True
        raise
    except BaseException:
        attempt.sent = True
        raise
    attempt.sent = True


# Raised by httpx while it has no connection yet, that is before the request's first byte. TLS is a part of connecting.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class _DeadlineStream(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, deadline: float, request: httpx.Request) -> None:
        self._inner, self._deadline, self._request = inner, deadline, request

    def __iter__(self) -> Iterator[bytes]:
        for part in self._inner:
            if time.monotonic() > self._deadline:
                raise httpx.ReadTimeout("the answer did not end in time", request=self._request)
            yield part

    def close(self) -> None:
        self._inner.close()


def _answer(raw: Any, recorded: Sequence[_Recorded], messages: Sequence[Mapping[str, Any]]) -> Answer:
    noted = recorded[-1] if recorded else _Recorded({}, "")
    if isinstance(raw, list):
        calls = tuple(_tool_call(item, number) for number, item in enumerate(cast(list[Any], raw)))
        text = ""
    else:
        calls, text = (), "" if raw is None else clean(str(raw))
    if not recorded and not text and not calls:
        raise ModelError("bad_response", "the provider answered without a message")
    usage = _usage(noted.usage, text + "".join(call.arguments for call in calls), messages)
    return Answer(text, calls, usage, noted.finish_reason in ("length", "max_tokens", "MAX_TOKENS", "incomplete"))


def _tool_call(item: Any, number: int) -> ToolCall:
    """Read one tool call out of the forms that CrewAI's providers return: OpenAI, Anthropic, Gemini, Bedrock, dict."""
    found: Any = item.model_dump() if hasattr(item, "model_dump") else item
    if not isinstance(found, dict):
        found = {"name": getattr(item, "name", ""), "args": getattr(item, "args", {})}
    entry = cast(dict[str, Any], found)
    function: dict[str, Any] = entry.get("function") or entry.get("function_call") or entry
    arguments: Any = function.get("arguments", function.get("input", function.get("args", {})))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    ident = entry.get("id") or entry.get("toolUseId") or f"call_{number}"
    return ToolCall(clean(str(ident)), clean(str(function.get("name") or "")), clean(text))


def clean(text: str) -> str:
    """Replace what UTF-8 or a database can't hold: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")


def _usage(found: Mapping[str, Any], output: str, messages: Sequence[Mapping[str, Any]]) -> Usage:
    """Read what a provider says that a call has used; where it says nothing, or nothing possible, it is estimated."""

    def first(*names: str) -> int:
        return next((_tokens(found[name]) for name in names if found.get(name)), 0)

    read = first("prompt_tokens", "input_tokens", "prompt_token_count")
    written = first("completion_tokens", "output_tokens", "candidates_token_count")
    prompt = read or sum(estimate_tokens(str(message.get("content") or "")) for message in messages)
    answer = written or estimate_tokens(output)
    cached = min(prompt, first("cached_prompt_tokens", "cache_read_input_tokens", "cached_content_token_count"))
    reasoned = first("reasoning_tokens", "thoughts_token_count")
    return Usage(prompt, answer, cached, reasoned, estimated=(read, written) != (prompt, answer))


def _tokens(told: Any) -> int:
    """Read a number of tokens; 0 for what can be none."""
    try:
        return max(0, int(told))
    except (TypeError, ValueError, OverflowError):
        return 0


_MOST_CHARACTERS = 300


def _classify(error: Exception, model: Model, timeout_seconds: float, attempt: _Attempt) -> ModelError:
    found = _classified(error, model, timeout_seconds)
    # What CrewAI and the SDK make of an error says nothing for certain; what our own transport saw does.
    found.unsent = attempt.refused and not attempt.sent
    return found


def _classified(error: Exception, model: Model, timeout_seconds: float) -> ModelError:
    if isinstance(error, ModelError):
        return error
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    text = _plain(chain, Redactor([str(getattr(model.provider, "api_key", None) or "")]))
    codes = (getattr(item, "status_code", None) for item in chain)
    status = next((code for code in codes if isinstance(code, int)), 0)
    names = " ".join(type(item).__name__ for item in chain)
    if "ContextLength" in names or (status in (0, 400, 413) and _OVERFLOW.search(text)):
        what = f"the prompt is longer than the model's context window: {text}"
        return ModelError("context", what, fix=_overflow_fix(model))
    if "Timeout" in names:
        return ModelError("timeout", f"no answer within {timeout_seconds:g} s")
    kind = _kind(status, names)
    if kind == "auth":
        variable = model.spec.api_key_env or key_variable(model.spec.model.partition("/")[0]) or "the provider's key"
        fix = f"check {variable} in the environment or .env"
        return ModelError(kind, f"the provider refused the key ({status}): {text}", fix=fix)
    if kind == "not_found":
        what = f"the provider does not know {model.spec.model}: {text}"
        return ModelError(kind, what, fix="check `model:` in models.yaml")
    server = f" ({model.spec.base_url})" if model.spec.base_url else ""
    if kind == "connection":
        fix = f"see that the server{server} is up and can be reached"
        return ModelError(kind, f"no connection to the provider{server}", fix=fix)
    return ModelError(kind, f"{status}: {text}" if status else text, retry_after=_retry_after(chain))


def _kind(status: int, names: str) -> ErrorKind:
    if status == 429:
        return "rate_limit"
    if status >= 500 or status in (408, 409, 425):
        return "server"
    if status in (401, 403):
        return "auth"
    if status == 404 or "NotFound" in names:
        return "not_found"
    if status >= 400:
        return "refused"
    if "Connection" in names or "RemoteProtocol" in names or "ReadError" in names:
        return "connection"
    return "bad_response"


def _plain(chain: Sequence[BaseException], redactor: Redactor) -> str:
    """Tell an error in 300 characters, without the key, and without half words: one may be a half of a secret."""
    for item in chain:
        body = getattr(item, "body", None)
        message: Any = cast(dict[str, Any], body).get("message") if isinstance(body, dict) else None
        if message:
            return _shortened(redactor.text(clean(str(message))))
    return _shortened(redactor.text(clean(" ".join(str(chain[0]).split())))) or type(chain[0]).__name__


def _shortened(text: str) -> str:
    cut = text[:_MOST_CHARACTERS]
    return cut if cut == text or " " not in cut else f"{cut.rpartition(' ')[0]} …"


def _overflow_fix(model: Model) -> str:
    return (
        f"the window is taken to be {model.context_window} tokens (`context_window:` in models.yaml): "
        "use a model with a larger one, give the task less context (`context: [...]`), or its tools a smaller `limit`"
    )


def _retry_after(chain: Sequence[BaseException]) -> float | None:
    for item in chain:
        headers = getattr(getattr(item, "response", None), "headers", None)
        if headers is None:
            continue
        for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
            try:
                return max(0.0, float(headers[name]) / scale)
            except (KeyError, ValueError):
                continue
        return _http_date(headers.get("retry-after", ""))
    return None


def _http_date(text: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
