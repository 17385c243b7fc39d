"""The journal's records: plain JSON, self-describing. Large parts stand in files beside the database."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from project.errors import AppError

_RECORD_LIMIT = 1_000_000
_PART_LIMIT = 100_000
_FILE = "$file"


def digest(*parts: object) -> str:
    """Return a short digest of JSON values, the same in every process."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def pack(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the record as it is journaled: when it is larger than 1 MB, its large parts are put into files."""
    sizes = {key: len(json.dumps(value)) for key, value in record.items()}
    if sum(sizes.values()) <= _RECORD_LIMIT:
        return dict(record)
    return {key: _to_file(value, folder) if sizes[key] > _PART_LIMIT else value for key, value in record.items()}


def unpack(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the record as it was before `pack`. Raises: AppError when a file is missing or was changed."""
    return {key: _from_file(value, folder) for key, value in record.items()}


def _to_file(value: Any, folder: Path) -> dict[str, Any]:
    text = json.dumps(value, ensure_ascii=True).encode()
    name = hashlib.sha256(text).hexdigest()
    path = folder / "payloads" / name
    if not path.exists():
        write_atomically(path, text)
    return {_FILE: name, "bytes": len(text)}


def _from_file(value: Any, folder: Path) -> Any:
    part = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    if set(part) != {_FILE, "bytes"}:
        return cast(Any, value)
    name: str = part[_FILE]
    path = folder / "payloads" / name
    try:
        text = path.read_bytes()
    except OSError as error:
        raise AppError(f"a part of the journal is missing: {path}") from error
    if hashlib.sha256(text).hexdigest() != name:
        raise AppError(f"a part of the journal was changed: {path}")
    return json.loads(text)


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put `content` at `path` whole or not at all, also when the machine dies. Makes the folder."""
    path.parent.mkdir(mode=0o700 if mode == 0o600 else 0o777, parents=True, exist_ok=True)
    file, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
