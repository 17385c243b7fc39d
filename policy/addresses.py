"""The hosts of the addresses among a call's arguments: of URLs, of mail addresses, of bare host names.

Clients read odd addresses in different ways: one takes `\\` for `/`, another drops line breaks, a third reads `0x7f.1`
as an IP address. Whatever two of them could read differently is Unclear, and never helps to permit a call.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from policy.values import Leaf, leaves


class Unclear(Exception):
    """What a condition asks for cannot be told for sure. Its text says why, for people."""


_NAMES = re.compile(
    r"(?:.*[_-])?(?:urls?|uris?|links?|href|hosts?|hostname|domains?|sites?|websites?|servers?|endpoint|webhook|callback"
    r"|to|cc|bcc|recipients?|e?-?mails?|mail_?to)",
    re.IGNORECASE,
)
"""Arguments that hold addresses by their name, also such as are no URL: there everything must be understood."""
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PAGES = re.compile(
    r"(?:.*[_-])?(?:urls?|uris?|links?|href|hosts?|hostname|domains?|sites?|websites?|servers?|endpoint|webhook|callback)",
    re.IGNORECASE,
)
"""Arguments that hold addresses of pages or machines by their name: to ask one for it tells it something."""
_URL = re.compile(r"(?<!file):[/\\\\]{2}|(?<![A-Za-z0-9+.\-])(?:https?|wss?|ftps?):\S", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<colon>:)?(?P<slashes>[/\\]{2,})(?P<authority>[^\s<>\"'`{}|^/?#]*)")
_WITHOUT_SLASHES = re.compile(r"(?<![A-Za-z0-9+.\-])(?:https?|wss?|ftps?):(?!//)\S", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,30}$")
_STARTS_AS_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[/\\]|[/\\]{2}")
_BROKEN_OFF = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.\-]*:[/\\]+[^/\\?#\s]*[\t\n\r]\S")
"""A URL with a line break or tab in its host: some clients leave it out and read on."""
_READS_ON = re.compile(r"[\"'`{}|^]+[.:]?[\w@\-]|[<>]+[.:@]|(?![ \t\n\r])\s")
"""What ends a host for some clients and is part of it for others."""
_MAIL_HOST = re.compile(r"[^\s<>,;:\"'()\[\]/\\?#&@]*")
_MORE_FIELDS = re.compile(r"\?\S*%40")
_BEFORE_MENTION = " \t\n\r(/<"
_AFTER_WORD = ".,;:!?)}'\""
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_\-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_MOST_CHARACTERS = 253


def hosts_in(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the host of every address among `arguments`, each once, in lower case, in punycode, without a final dot.

    Raises: Unclear for an address that cannot be read in one way only.
    """
    found = (host for leaf in leaves(arguments) for host in _hosts_of(leaf))
    return tuple(dict.fromkeys(found))


def holds_url(arguments: Mapping[str, Any]) -> bool:
    """Say whether one of `arguments` is or holds the address of a page: by its name, or since it reads like one."""
    for leaf in leaves(arguments):
        if leaf.value in (None, ""):
            continue
        if not leaf.is_key and _PAGES.fullmatch(_HUMP.sub("_", leaf.name)):
            return True
        if isinstance(leaf.value, str) and _URL.search(leaf.value):
            return True
    return False


def canonical_host(host: str) -> str:
    """Return a host as it is compared: lower case, punycode, no final dot, an IP address in its one usual form.

    Raises: Unclear.
    """
    if host.startswith("["):
        return _ip(host[1:-1]) if host.endswith("]") else _unclear(host)
    text = host.lower().removesuffix(".")
    if not text.isascii():
        text = _punycode(text)
    labels = text.split(".")
    if len(text) > _MOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        _unclear(host)
    return _ip(text) if _NUMBER.fullmatch(labels[-1]) else text


def _punycode(text: str) -> str:
    # What normalising changes (full width, ligatures, invisible characters) is read differently by different clients.
    try:
        coded = text.encode("idna").decode("ascii")
        same = coded.encode("ascii").decode("idna") == text and unicodedata.normalize("NFKC", text) == text
    except UnicodeError:
        same, coded = False, ""
    return coded.lower() if same and not set("ßς\u200c\u200d").intersection(text) else _unclear(text)


def _ip(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _unclear(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            _unclear(text)
        address = address.ipv4_mapped or address
    return str(address)


def _unclear(text: str) -> str:
    raise Unclear(f"the address {text[:80]!r} can be read in more than one way")


def _hosts_of(leaf: Leaf) -> Iterator[str]:
    text, named = leaf.value, _NAMES.fullmatch(_HUMP.sub("_", leaf.name)) is not None and not leaf.is_key
    if isinstance(text, str) and text.strip():
        yield from _hosts_of_address(text.strip()) if named else _hosts_in_text(text)
    elif named and text is not None and not isinstance(text, str):
        raise Unclear(f"`{leaf.place}` is no text")


def _hosts_of_address(text: str) -> Iterator[str]:
    """Yield the hosts of an argument that is one or several addresses, and nothing else."""
    if any(not char.isprintable() and char not in "\r\n" for char in text):
        _unclear(text)
    if _STARTS_AS_URL.match(text):
        if re.search(r"\s", text):
            _unclear(text)
        yield from list(_hosts_in_text(text)) or [_unclear(text)]
        return
    for part in filter(None, (piece.strip() for piece in re.split(r"[,;\r\n]", text))):
        yield from list(_hosts_in_text(part)) or [_bare_host(part)]


def _bare_host(text: str) -> str:
    """Read `example.com`, `example.com:8080/path`."""
    if re.search(r"[\s\\]", text):
        _unclear(text)
    return _host_of(re.split(r"[/?#]", text, maxsplit=1)[0])


def _hosts_in_text(text: str) -> Iterator[str]:
    """Yield the hosts of the URLs and mail addresses in a text."""
    odd = _WITHOUT_SLASHES.search(text) or _BROKEN_OFF.match(text)
    if odd:
        _unclear(text[odd.start() :])
    read: list[tuple[int, int]] = []
    for match in _AUTHORITY.finditer(text):
        scheme = _SCHEME.search(text, max(0, match.start() - 31), match.start()) if match["colon"] else None
        if scheme is None and (match.start() > 0 or not match["authority"]):
            continue
        if scheme is not None and scheme[0].lower() == "file" and match["slashes"] == "///":
            continue  # a path: no host
        if match["slashes"] != "//" or _READS_ON.match(text, match.end()):
            _unclear(text[match.start() :])
        read.append(match.span("authority"))
        yield _host_of(match["authority"])
    yield from _mail_hosts(text, read)


def _host_of(authority: str) -> str:
    """Return the host of what stands between `//` and the path of a URL."""
    user, sign, host = authority.rpartition("@")
    if "\\" in authority or "%" in host or "@" in user or (sign and not user):
        _unclear(authority)
    host = host.rstrip(_AFTER_WORD)
    if host.startswith("["):
        host, _, port = host.partition("]")
        return canonical_host(f"{host}]") if _is_port(port.removeprefix(":")) else _unclear(authority)
    name, _, port = host.partition(":")
    return canonical_host(name) if _is_port(port) else _unclear(authority)


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdecimal() and len(text) < 6)


def _mail_hosts(text: str, read: list[tuple[int, int]]) -> Iterator[str]:
    """Yield the hosts of mail addresses; `read` are the parts of the text that were read as hosts of URLs."""
    at = -1
    while (at := text.find("@", at + 1)) >= 0:
        if any(start <= at < end for start, end in read):
            continue
        host = _MAIL_HOST.match(text, at + 1)
        assert host is not None
        named, before = host[0].rstrip(_AFTER_WORD), text[at - 1] if at else " "
        if before in _BEFORE_MENTION and "." not in named:
            continue  # `@name` in a message, or in the path of a URL
        local = re.split(r"[\s<>,;:()\[\]]", text[max(0, at - 65) : at])[-1]
        # A client of mail takes what follows a `?` for further fields, and reads `%40` there as `@`.
        hidden = _MORE_FIELDS.match(text, host.end()) is not None
        if hidden or before in "\"'@" or "%" in local or "!" in local or text[host.end() : host.end() + 1] == "@":
            _unclear(text[max(0, at - 40) :])
        yield canonical_host(named)
