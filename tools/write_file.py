"""The tool `write_file`."""

import os
import re
import tempfile
import unicodedata
from pathlib import Path

from muster import ToolContext, tool

_MAX_DEPTH = 10
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


def unwrite_file(path: str, text: str, context: ToolContext) -> str:
    """Put back what was there before `write_file`. Raises: ValueError where that is not known, or no more possible."""
    kept = _kept(context)
    if kept is None or not kept.is_file():
        raise ValueError(f"what {path!r} was before was not kept")
    target = context.output_folder.joinpath(*_parts(path))
    before = kept.read_bytes()
    old = before[1:] if before[:1] == b"+" else None
    now = target.read_bytes() if target.is_file() else None
    if now == old:  # undone before
        return f"{path} is as it was"
    if now != _encoded(text):
        raise ValueError(f"{path!r} was changed since it was written")
    if old is None:
        target.unlink()
        return f"removed {path}"
    _replace(target, old)
    return f"put back the {len(old)} bytes that {path} was before"


@tool(effect="write", repeat="safe", returns="trusted", undo=unwrite_file)
def write_file(path: str, text: str, context: ToolContext) -> str:
    """Write a text file into the run's output folder; a file of that name is replaced.

    Returns how many characters were written, and where.

    Args:
        path: A relative path such as `report.md` or `drafts/report.md`; folders are made as needed.
        text: The whole content of the file.
    """
    parts = _parts(path)
    content = _encoded(text)
    folder = _folder(context.output_folder, parts[:-1])
    target = folder / parts[-1]
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise ValueError(f"{path!r} is refused: there is something of that name that is no file")
    _keep(context, target)
    _replace(target, content)
    return f"wrote {len(text)} characters to {'/'.join(parts)}"


def _keep(context: ToolContext, target: Path) -> None:
    """Keep what is there for the undo: `+` and the old content, or `-` where there is no file."""
    kept = _kept(context)
    if kept is None or kept.exists():  # the call is made again after a crash: by now the file may be the new one
        return
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _replace(kept, b"+" + target.read_bytes() if target.exists() else b"-")


def _kept(context: ToolContext) -> Path | None:
    return context.output_folder.parent / "kept" / context.idempotency_key if context.idempotency_key else None


def _parts(path: str) -> list[str]:
    """Return the parts of a path that is harmless on every system. Raises: ValueError, saying what is wrong with it."""
    parts = path.split("/")
    if path.startswith(("/", "~")) or "\\" in path or ":" in path:
        raise ValueError(f"{path!r} is refused: give a relative path with `/` between its parts, without `\\` and `:`")
    if len(parts) > _MAX_DEPTH:
        raise ValueError(f"{path!r} is refused: at most {_MAX_DEPTH} parts are allowed")
    for part in parts:
        if problem := _problem(part):
            raise ValueError(f"{path!r} is refused: {problem}")
    return parts


def _problem(part: str) -> str:
    if not part:
        return "a part of it is empty"
    if part in (".", ".."):
        return "`.` and `..` are not allowed"
    if part.startswith("."):
        return "hidden files and folders are not allowed"
    if part != part.strip() or part.endswith("."):
        return "a part begins or ends with a space, or ends with a dot"
    if any(unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") for sign in part) or re.search(
        r'[<>"|?*]', part
    ):
        return "it holds characters that are not allowed in names"
    if _RESERVED.fullmatch(part):
        return f"{part!r} is a reserved name on some systems"
    return "a part of it is too long" if len(part.encode()) > 200 else ""


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text is refused: character {error.start} is half of a pair and cannot be stored"
        ) from error


def _folder(root: Path, parts: list[str]) -> Path:
    """Make the folders below `root`; a link among them is refused, wherever it leads."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = root
    for part in parts:
        folder = folder / part
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise ValueError(f"{'/'.join(parts)!r} is refused: {part!r} is no folder")
        folder.mkdir(exist_ok=True, mode=0o700)
    return folder


def _replace(target: Path, content: bytes) -> None:
    """Put `content` in place as a whole: after a crash the file is the old one or the new one, never a half."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".muster-", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
    if os.name == "posix":  # the new name itself is on disk only when its folder is
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
