"""Ids of runs."""

import re
import secrets
from datetime import UTC, datetime

from project.errors import UsageError

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")


def check_run_id(run_id: str) -> str:
    """Return the id. Raises: UsageError when it can't be one."""
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(f"{run_id!r} can't be a run id", fix="letters, digits, `-` and `_`, at most 80")
    return run_id


def new_run_id(crew: str) -> str:
    """Make an id that sorts by time and can be read aloud."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", crew).strip("-")[:40] or "run"
    return f"{stem}-{datetime.now(UTC):%m%d-%H%M%S}-{secrets.token_hex(4)}"
