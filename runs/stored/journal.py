"""The journal's records: plain JSON, self-describing. Large parts stand in files beside the database."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from project.errors import AppError
from runs.governed.redaction import redactor_of
from runs.stored.files import fetch, share, write_atomically
from runs.stored.sealing import open_bytes, seal_bytes

_RECORD_LIMIT = 1_000_000
_PART_LIMIT = 100_000
_FILE = "$file"


class Cleaned(dict[str, Any]):
    """A record that holds no secrets."""


def digest(*parts: object) -> str:
    """Return a short digest of JSON values, the same in every process."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def pack(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the record as it is journaled: without secrets; when it is larger than 1 MB, its large parts are in files.

    `folder` is the run's own, called by its id. Where machines share files, they are shared when this returns.
    Raises: NotShared.
    """
    record = redactor_of(folder.name).value(record)
    sizes = {key: len(json.dumps(value)) for key, value in record.items()}
    if sum(sizes.values()) <= _RECORD_LIMIT:
        return Cleaned(record)
    return Cleaned(
        {key: _to_file(value, folder) if sizes[key] > _PART_LIMIT else value for key, value in record.items()}
    )


def unpack(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the record as it was before `pack`. Raises: AppError when a file is missing or was changed."""
    return {key: _from_file(value, folder) for key, value in record.items()}


def _to_file(value: Any, folder: Path) -> dict[str, Any]:
    text = seal_bytes(json.dumps(value, ensure_ascii=True).encode())
    name = hashlib.sha256(text).hexdigest()
    path = folder / "payloads" / name
    if not path.exists():
        write_atomically(path, text)
    share(path)
    return {_FILE: name, "bytes": len(text)}


def _from_file(value: Any, folder: Path) -> Any:
    part = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    if set(part) != {_FILE, "bytes"}:
        return cast(Any, value)
    name: str = part[_FILE]
    path = folder / "payloads" / name
    try:
        if not path.exists():
            fetch(path, name)
        text = path.read_bytes()
    except OSError as error:
        raise AppError(f"a part of the journal is missing: {path}") from error
    if hashlib.sha256(text).hexdigest() != name:
        raise AppError(f"a part of the journal was changed: {path}")
    return json.loads(open_bytes(text))
