"""Where a project keeps its state, and the environment with the project's .env under it."""

import contextlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from project.errors import AppError, Where

_STATE = ".muster"
_LEAST_KEY_BYTES = 16


@dataclass(frozen=True)
class Settings:
    """What the environment says. Its repr shows no value of the environment."""

    root: Path
    """The project folder."""
    state_folder: Path
    """Where runs, their database and their files are kept; absolute."""
    environment: Mapping[str, str] = field(repr=False)
    """The process's environment over the project's .env."""
    database_url: str | None = field(default=None, repr=False)
    """URL of the database, PostgreSQL or SQLite; None: SQLite in the state folder."""
    files: str = field(default="", repr=False)
    """Where machines share the files of runs: an absolute path or an fsspec URL; "": the state folder holds them."""
    files_max_bytes: int = 200_000_000
    """Most bytes of files and folders that are a run's inputs, where files are shared."""
    audit_keys: tuple[bytes, ...] = field(default=(), repr=False)
    """Keys of the audit trail: the one that signs, then older ones that only check; (): nothing is signed."""


def load_settings(root: Path, environ: Mapping[str, str]) -> Settings:
    """Read `<root>/.env` and put `environ` over it; changes neither `environ` nor os.environ.

    Raises: AppError (exit 3) for an unreadable .env, a database of another kind or a ceiling that is no number.
    """
    merged = {**_read_env_file(root / ".env"), **environ}
    state = merged.get("MUSTER_STATE", "").strip() or _STATE
    with contextlib.suppress(RuntimeError):  # no home folder: `~` is then an ordinary name
        state = str(Path(state).expanduser())
    return Settings(
        root=root,
        state_folder=Path(os.path.abspath(root / state)),
        environment=merged,
        database_url=_check_database(merged.get("MUSTER_DATABASE_URL", "").strip()),
        files=_read_place(root, merged.get("MUSTER_FILES", "").strip()),
        files_max_bytes=_read_megabytes(merged.get("MUSTER_FILES_MAX_MB", "").strip()),
        audit_keys=_read_audit_keys(merged),
    )


def make_state_folder(settings: Settings) -> Path:
    """Make the state folder, open to its owner only and ignored by git; return it.

    A folder of `MUSTER_STATE` that already holds something keeps its permissions and gets no .gitignore.

    Raises: AppError when it cannot be made.
    """
    folder = settings.state_folder
    try:
        ours = (
            folder == Path(os.path.abspath(settings.root / _STATE)) or not folder.is_dir() or not any(folder.iterdir())
        )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if ours:
            folder.chmod(0o700)
            ignore = folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise AppError(
            f"the state folder {folder} cannot be made: {error.strerror or 'unknown reason'}",
            fix="make its parent writable, or point MUSTER_STATE to another folder",
        ) from error
    return folder


def _read_env_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        raise AppError(f"{reason}", where=Where(".env", 1, 1), fix="save .env as UTF-8 text", exit_code=3) from None
    for line in parse_stream(io.StringIO(text)):
        if line.error:
            raise AppError(
                "is not NAME=value",
                where=Where(".env", line.original.line, 1),
                fix="write NAME=value, and close every quote",
                exit_code=3,
            )
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}


def _check_database(url: str) -> str | None:
    if not url:
        return None
    scheme = url.partition(":")[0].partition("+")[0].lower()
    if scheme == "sqlite":
        return url
    if scheme in ("postgresql", "postgres"):
        return f"postgresql:{url.partition(':')[2]}"
    raise AppError(
        "MUSTER_DATABASE_URL is not the address of a PostgreSQL or SQLite database",
        fix="write postgresql://user@host/name or sqlite:////absolute/path.sqlite, or unset it",
        exit_code=3,
    )


def _read_place(root: Path, said: str) -> str:
    """Return a URL as it is and a path as an absolute one, from the project."""
    if not said or "://" in said:
        return said
    with contextlib.suppress(RuntimeError):
        said = str(Path(said).expanduser())
    return os.path.abspath(root / said)


def _read_audit_keys(merged: Mapping[str, str]) -> tuple[bytes, ...]:
    key, older = (merged.get(name, "").strip() for name in ("MUSTER_AUDIT_KEY", "MUSTER_AUDIT_OLD_KEYS"))
    found = [key, *(one.strip() for one in older.split(",") if one.strip())] if key else []
    for one in found:
        if len(one.encode()) < _LEAST_KEY_BYTES:
            name = "MUSTER_AUDIT_KEY" if one is found[0] else "a key of MUSTER_AUDIT_OLD_KEYS"
            what = f"{name} is too short: {len(one.encode())} bytes, at least {_LEAST_KEY_BYTES} are needed"
            raise AppError(what, fix="`muster audit new-key` makes one", exit_code=3)
    return tuple(one.encode() for one in found)


def _read_megabytes(said: str) -> int:
    if said and not (said.isascii() and said.isdigit()):
        fix = "write a whole number of megabytes, or unset it for 200"
        raise AppError(f"MUSTER_FILES_MAX_MB is no number: {said!r}", fix=fix, exit_code=3)
    return int(said or 200) * 1_000_000
