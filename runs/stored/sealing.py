"""The journal under a key: what is stored of a run's content is encrypted where `MUSTER_JOURNAL_KEY` is set.

A sealed text says so itself, so that sealed and plain ones stand side by side: a key that is set later covers what is
written from then on. AES-256-GCM; the nonce is a keyed hash of the text, so that the same text is sealed alike, and a
replay makes the same bytes. A text that was changed, or moved under another key, is refused.
"""

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from project.errors import AppError

VARIABLE = "MUSTER_JOURNAL_KEY"
"""Holds the keys, separated by commas: the first one seals, all of them open."""
LEAST_KEY = 24
"""Characters of the shortest key that is taken."""

_MARK = "muster-sealed:1:"
_NONCE_BYTES = 12
_FIX = f"put the {VARIABLE} that it was written with into .env; several keys are separated by commas"


@dataclass(frozen=True)
class _Key:
    name: str
    """Tells it from others, and nothing of what it is."""
    cipher: AESGCM = field(repr=False)
    nonces: bytes = field(repr=False)


class _Ring:
    """The keys of this process: it works for one project."""

    def __init__(self) -> None:
        self.keys: tuple[_Key, ...] = ()


_ring = _Ring()


def use(environment: Mapping[str, str]) -> None:
    """Seal and open with the keys of this environment from now on. Raises: AppError (exit 3) for one too short."""
    said = [key.strip() for key in environment.get(VARIABLE, "").split(",")]
    _ring.keys = tuple(_derived(key) for key in said if key)


def is_on() -> bool:
    """Say whether what is written now is sealed."""
    return bool(_ring.keys)


def is_sealed(text: object) -> bool:
    """Say whether this is a sealed text."""
    return isinstance(text, str) and text.startswith(_MARK)


def seal_text(text: str) -> str:
    """Return the text as it is stored: as it is where there is no key."""
    return _sealed(text, _ring.keys[0]) if _ring.keys else text


def _sealed(text: str, key: _Key) -> str:
    raw = text.encode("utf-8", "surrogatepass")
    nonce = hmac.new(key.nonces, raw, hashlib.sha256).digest()[:_NONCE_BYTES]
    sealed = key.cipher.encrypt(nonce, raw, _MARK.encode())
    return f"{_MARK}{key.name}:{base64.b64encode(nonce + sealed).decode()}"


def stored_forms(text: str) -> list[str]:
    """Return the text in every form in which it may be stored: plain, and under each key."""
    return [text, *(_sealed(text, key) for key in _ring.keys)]


def open_text(text: str) -> str:
    """Return a stored text as it was. Raises: AppError when it is sealed and no key here opens it."""
    if not is_sealed(text):
        return text
    name, _, body = text[len(_MARK) :].partition(":")
    key = next((key for key in _ring.keys if key.name == name), None)
    if key is None:
        what = "is not the one that opens it" if _ring.keys else "is not set"
        raise AppError(f"this part of the journal is encrypted, and {VARIABLE} {what}", fix=_FIX)
    try:
        raw = base64.b64decode(body, validate=True)
        return key.cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _MARK.encode()).decode(
            "utf-8", "surrogatepass"
        )
    except (ValueError, InvalidTag) as error:
        raise AppError("an encrypted part of the journal was changed, and can't be read any more") from error


def show_text(text: str) -> str:
    """Return a stored text for a list, which shows what it can: a sealed one that no key here opens is named so."""
    try:
        return open_text(text)
    except AppError:
        return "[encrypted]"


def seal_bytes(content: bytes) -> bytes:
    """Return the content of a file of UTF-8 text as it is stored."""
    return seal_text(content.decode()).encode()


def open_bytes(content: bytes) -> bytes:
    """Return the content of a file as it was. Raises: as `open_text`."""
    return open_text(content.decode()).encode() if content.startswith(_MARK.encode()) else content


def check_private(tools: Mapping[str, bool]) -> None:
    """See that results of private tools would not be stored for anyone to read; `tools` says which are private.

    Raises: AppError (exit 3).
    """
    private = next((name for name, is_private in tools.items() if is_private), "")
    if private and not is_on():
        what = f"the results of the tool `{private}` are private, and the journal would hold them in plain text"
        fix = f"put {VARIABLE}=... into .env, which encrypts it; `muster audit new-key` prints one"
        raise AppError(what, fix=fix, exit_code=3)


@functools.lru_cache(maxsize=32)
def _derived(key: str) -> _Key:
    if len(key) < LEAST_KEY:
        what = f"a key in {VARIABLE} has fewer than {LEAST_KEY} characters"
        raise AppError(what, fix="`muster audit new-key` prints one", exit_code=3)

    def part(purpose: str) -> bytes:
        return hmac.new(key.encode(), f"muster journal {purpose}".encode(), hashlib.sha256).digest()

    return _Key(part("name").hex()[:8], AESGCM(part("content")), part("nonce"))


def to_json(value: object) -> str:
    """Return a JSON value as it is stored."""
    return seal_text(json.dumps(value, separators=(",", ":")))
