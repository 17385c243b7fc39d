"""One page from the web: every hop checked, the name looked up once, the connection made to what was checked."""

import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tools.egress import Egress, Refused, Resolver, look_up

MOST_HOPS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
_LONGEST_ADDRESS = 2000
_PIECE = 64_000
_HEADERS = {"Accept": "text/html, text/*, application/json, */*;q=0.5", "Accept-Encoding": "gzip, deflate"}
_AGENT = "Muster"


class FetchFailed(Exception):
    """A page that could not be had; the text says why."""


@dataclass(frozen=True)
class Page:
    """What a server answered."""

    url: str
    """Its address, after all redirects."""
    status: int
    reason: str
    kind: str
    """Content type in small letters, without parameters; "" when the server does not say."""
    charset: str
    """As the server says; "" when it does not."""
    content: bytes = field(repr=False)
    """At most as many bytes as were allowed."""
    cut: bool
    """Whether there was more."""


@dataclass(frozen=True)
class _Limits:
    bytes: int
    until: float
    """time.monotonic() by which all must be there."""

    def left(self) -> float:
        """Return the seconds that are left. Raises: FetchFailed when there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise FetchFailed("the time was up before all of the answer was there")
        return left


def fetch(
    url: str, egress: Egress, *, max_bytes: int = 2_000_000, seconds: float = 20.0, resolve: Resolver = look_up
) -> Page:
    """Get `url` and follow its redirects; each hop is checked as the first.

    Sends no cookies and no credentials, to anybody. Proxies of the environment are not asked: they would look up names
    themselves. `seconds` is for all hops together.

    Raises: Refused; FetchFailed.
    """
    limits = _Limits(max_bytes, time.monotonic() + seconds)
    here = _address(url)
    for _ in range(MOST_HOPS + 1):
        found = _hop(here, egress, limits, resolve)
        if isinstance(found, Page):
            return found
        if here.scheme == "https" and found.scheme == "http":
            raise Refused(f"{here.host} redirects from https to http, where others could read along")
        here = found
    raise FetchFailed(f"more than {MOST_HOPS} redirects")


def _address(url: str) -> httpx.URL:
    """Return the address, read once: what is checked is what is asked. Raises: Refused."""
    if len(url) > _LONGEST_ADDRESS or any(sign.isspace() or ord(sign) < 32 for sign in url) or "\\" in url:
        raise Refused("the address is too long, or holds spaces or backslashes")
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(f"the address cannot be read: {error}") from error
    if found.scheme not in _PORTS:
        raise Refused(f"only http and https addresses are fetched, not {found.scheme or 'a relative one'!r}")
    if found.userinfo:
        raise Refused("the address holds a user's name or password")
    if not found.host:
        raise Refused("the address names no host")
    if found.port is not None and not 0 < found.port < 65536:
        raise Refused(f"there is no port {found.port}")
    return found


def _hop(url: httpx.URL, egress: Egress, limits: _Limits, resolve: Resolver) -> "Page | httpx.URL":
    """Ask one server; return its page, or where it redirects to."""
    port = url.port or _PORTS[url.scheme]
    host = egress.check_host(url.raw_host.decode("ascii"))
    try:
        addresses = egress.addresses(host, port, resolve)
    except Refused:
        raise
    except OSError as error:
        raise FetchFailed(f"{host} is not known ({error})") from error
    failed = ""
    for address in addresses[:3]:
        try:
            return _asked(url, host, address, limits)
        except httpx.ConnectError as error:
            failed = str(error)
        except httpx.HTTPError as error:
            limits.left()
            raise FetchFailed(f"{host} did not answer as it should ({type(error).__name__}: {error})") from error
    limits.left()
    raise FetchFailed(f"no connection to {host} ({failed})")


def _asked(url: httpx.URL, host: str, address: str, limits: _Limits) -> "Page | httpx.URL":
    # The address takes the place of the name, so that nobody looks the name up again; the certificate is checked
    # against the name. A transport alone, without httpx's client: no cookies, no proxies, no redirects of its own.
    shown = host if ":" not in host else f"[{host}]"
    port = url.port
    headers = _HEADERS | {"Host": shown if port is None else f"{shown}:{port}", "User-Agent": _AGENT}
    with httpx.HTTPTransport(verify=httpx.create_ssl_context(), http2=False, retries=0) as transport, _Alarm() as alarm:
        left = limits.left()
        alarm.set(left)
        waits = dict.fromkeys(("connect", "read", "write", "pool"), left)
        more: dict[str, Any] = {"timeout": waits, "sni_hostname": host, "trace": alarm.trace}
        request = httpx.Request("GET", url.copy_with(host=address, fragment=None), headers=headers, extensions=more)
        answer = transport.handle_request(request)
        with closing(answer):
            answer.request = request
            if answer.status_code in _REDIRECTS and (target := answer.headers.get("location")):
                return _target(url, target)
            content, cut = _content(answer, limits)
            return _page(url, answer, content, cut)


def _target(url: httpx.URL, target: str) -> httpx.URL:
    try:
        joined = str(url.join(target))
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(f"{url.host} redirects to what is no address") from error
    return _address(joined)


def _page(url: httpx.URL, answer: httpx.Response, content: bytes, cut: bool) -> Page:
    kind = str(answer.headers.get("content-type", "")).partition(";")[0].strip().lower()
    charset = answer.charset_encoding or ""
    return Page(str(url), answer.status_code, answer.reason_phrase, kind, charset, content, cut)


def _content(answer: httpx.Response, limits: _Limits) -> tuple[bytes, bool]:
    """Return the content as far as it is allowed, and whether there was more."""
    found = bytearray()
    for piece in _unpacked(answer.iter_raw(_PIECE), answer.headers):
        limits.left()
        found += piece
        if len(found) > limits.bytes:
            return bytes(found[: limits.bytes]), True
    return bytes(found), False


def _unpacked(pieces: Iterator[bytes], headers: Mapping[str, str]) -> Iterator[bytes]:
    """Yield unpacked content in small pieces: a small answer may unpack to any size."""
    packing = headers.get("content-encoding", "identity").strip().lower()
    if packing in ("", "identity"):
        yield from pieces
        return
    if packing not in ("gzip", "x-gzip", "deflate"):
        raise FetchFailed(f"the answer is packed as {packing[:40]!r}, which was not asked for")
    engine = zlib.decompressobj(zlib.MAX_WBITS | 32 if packing != "deflate" else zlib.MAX_WBITS)
    for piece in pieces:
        rest = piece
        while rest:
            try:
                unpacked = engine.decompress(rest, _PIECE)
            except zlib.error as error:
                raise FetchFailed("the answer is packed wrongly") from error
            yield unpacked
            if engine.eof:
                return
            rest = engine.unconsumed_tail
            if not rest and len(unpacked) < _PIECE:
                break


class _Alarm:
    """Ends a connection when the time is up: a server that sends a byte now and then would never run into a timeout."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> "_Alarm":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def set(self, seconds: float) -> None:
        """Go off after so many seconds."""
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self._timer.start()

    def trace(self, event: str, more: Mapping[str, Any]) -> None:
        """Take note of the socket; httpx calls this at each step of a request."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            told: Callable[[str], Any] = more["return_value"].get_extra_info
            self._socket = told("socket")

    def _ring(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def text_of(page: Page) -> str | None:
    """Return a page's content as text in its encoding; None for what is no text."""
    kind = page.kind
    if not (kind.startswith("text/") or kind.endswith(("/json", "+json", "/xml", "+xml", "/yaml", "/x-yaml"))):
        return None
    try:
        return page.content.decode(page.charset or "utf-8", "replace")
    except LookupError:
        return page.content.decode("utf-8", "replace")
