"""Files of a run that another machine needs to finish it: put into a shared place before the journal tells of them.

What is content is named by its SHA-256, so that nothing is sent twice and a worker that lost its run can do no harm.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path, PosixPath
from typing import Any, TypeVar, cast

from project.errors import AppError, Stop
from project.settings import Settings
from runs.stored.places import Place, PlaceError, open_place
from runs.stored.sealing import open_bytes, seal_bytes

_R = TypeVar("_R")
_PAUSES = (0.2, 1.0, 3.0, 9.0)
"""Seconds between tries where the shared place fails in a way that may pass."""
_TRIES = 3
Account = Mapping[str, Any]
"""A file as a step records it: path, bytes, sha256."""


class NotShared(Stop):
    """A file could not be put into the shared place. What tells of it is not journaled, and the run parks."""

    def __init__(self, error: PlaceError) -> None:
        super().__init__(str(error))
        self.fix = "; ".join(error.fixes())


class RunPath(PosixPath):
    """A path in a runs folder whose files are shared. `/` keeps that, `parent` and the like lose it."""

    place: Place | None = None
    base: str = ""

    def __truediv__(self, key: "str | os.PathLike[str]") -> "RunPath":
        made = super().__truediv__(key)
        made.place, made.base = self.place, self.base
        return made

    @property
    def key(self) -> str:
        """The path below the runs folder, by which it is shared."""
        return os.path.relpath(self, self.base).replace(os.sep, "/")


def runs_folder(settings: Settings) -> Path:
    """Return the folder of the runs' files; where MUSTER_FILES is set, one that knows the shared place.

    Raises: PlaceError for a place that can't be opened.
    """
    folder = settings.state_folder / "runs"
    if not settings.files:
        return folder
    shared = RunPath(folder)
    shared.place, shared.base = open_place(settings.files), str(folder)
    return shared


def remove_files(folder: Path, run_id: str) -> None:
    """Remove what the shared place of these folders holds of a run; nothing without one. Raises: PlaceError."""
    place = place_of(folder)
    if place is not None and run_id:
        place.remove(run_id)


def copy_files(old: Path, new: Path) -> None:
    """Let a run that goes on with another's journal have its shared files, too. Raises: PlaceError."""
    place = place_of(old)
    if place is None:
        return
    for key in place.keys(old.name):
        part = key[len(old.name) + 1 :]
        if not part.startswith("outputs/"):
            place.copy(key, f"{new.name}/{part}")


def place_of(path: Path) -> Place | None:
    """Return the place that shares this folder's files, or None."""
    return path.place if isinstance(path, RunPath) else None


# -- one file


def share(path: Path) -> None:
    """Put a file of the runs folder into the shared place, where there is one and it is not there yet.

    Raises: NotShared.
    """
    if isinstance(path, RunPath) and path.place is not None:
        with _before_the_journal():
            put(path.place, path, path.key)


def fetch(path: Path, sha256: str) -> bool:
    """Bring a file of the runs folder from the shared place; False when it is not there. Raises: AppError."""
    if not isinstance(path, RunPath) or path.place is None:
        return False
    return bring(path.place, path.key, path, sha256)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put(place: Place, file: Path, key: str, *, again: bool = False) -> None:
    """Send a file, where it is not there yet; `again`: also where it is. Raises: PlaceError."""
    if again or not retried(lambda: place.has(key)):
        retried(lambda: place.send(file, key))


def bring(place: Place, key: str, target: Path, sha256: str) -> bool:
    """Bring a file of this content, private; False when it is not there. Raises: AppError."""
    target = Path(target)
    make_private_folder(target.parent)
    temporary = target.with_name(f".{target.name[:40]}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    try:
        if not retried(lambda: place.fetch(key, temporary)):
            return False
        if hash_file(temporary) != sha256:
            raise AppError(f"a file in the shared place was changed: {place.name}/{key}")
        temporary.chmod(0o600)
        os.replace(temporary, target)
    except OSError as error:
        raise AppError(f"{key} can't be brought to {target}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return True


def make_private_folder(folder: Path) -> None:
    """Make a folder and those above it, open to their owner only."""
    if not folder.is_dir():
        make_private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


@contextlib.contextmanager
def _before_the_journal() -> Generator[None]:
    try:
        yield
    except PlaceError as error:
        raise NotShared(error) from error


def retried(ask: Callable[[], _R]) -> _R:
    """Ask the shared place, for some seconds where its error may pass. Raises: PlaceError."""
    for pause in (*_PAUSES, None):
        try:
            return ask()
        except PlaceError as error:
            if pause is None or not error.passing:
                raise
            time.sleep(pause)
    raise AssertionError


# -- what tools made


def share_made(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Put the files that a tool's record tells of into the shared place; return the record, true of what was put.

    Raises: NotShared.
    """
    place = place_of(folder)
    if place is None or not record.get("files"):
        return record
    with _before_the_journal():
        shared = [_share_account(place, folder, account) for account in record["files"]]
    return record | {"files": [account for account in shared if account is not None]}


def _share_account(place: Place, folder: Path, account: Account) -> Account | None:
    """Share one file under its content's name. Another call may write it meanwhile: what was sent is what counts."""
    path = Path(folder, "files", account["path"])
    for _ in range(_TRIES):
        try:
            before = path.stat()
            sha256 = hash_file(path)
            put(place, path, content_key(folder, sha256))
            after = path.stat()
        except FileNotFoundError:
            return None
        if (before.st_mtime_ns, before.st_size, before.st_ino) == (after.st_mtime_ns, after.st_size, after.st_ino):
            return {**account, "bytes": after.st_size, "sha256": sha256}
    raise PlaceError(f"{path} changes while it is read", "let the tool return when its files are whole")


def content_key(folder: Path, sha256: str) -> str:
    """Return the key of a content in what is shared of the run of this folder."""
    return f"{folder.name}/content/{sha256}"


def bring_made(folder: Path, records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lay the files that tools made, as the last finished calls left them, into the run's folder; return warnings.

    `records` are those of the journal, in the order in which they ended. A file that is here in an earlier version is
    replaced; one that no finished call accounts for is moved to `replaced/`: a call under way here may have left it so.

    Raises: AppError when a file can't be had.
    """
    place = place_of(folder)
    if place is None:
        return []
    versions: dict[str, list[str]] = {}
    for record in records:
        for account in cast(Sequence[Account], record.get("files") or []):
            versions.setdefault(account["path"], []).append(account["sha256"])
    told = (_bring_one(place, folder, path, known) for path, known in sorted(versions.items()))
    return [line for line in told if line]


def _bring_one(place: Place, folder: Path, path: str, known: Sequence[str]) -> str:
    target = inside(Path(folder, "files"), path)
    here = hash_file(target) if target.is_file() else ""
    key = content_key(folder, known[-1])
    if here == known[-1]:
        put(place, target, key)
        return ""
    warning = ""
    if here and here not in known:
        kept = Path(folder, "replaced", path)
        make_private_folder(kept.parent)
        shutil.copyfile(target, kept)
        warning = f"files/{path} is again as the last finished call left it; what was there is in {kept}"
    if not bring(place, key, target, known[-1]):
        raise AppError(
            f"files/{path} of run {folder.name} is not in the shared place {place.name}",
            fix="resume the run on the machine where it was made, or see that MUSTER_FILES is the same on all machines",
        )
    return warning


# -- what tasks delivered


def keep_delivered(folder: Path, path: str, content: bytes) -> dict[str, Any]:
    """Share what a task wrote into the project; return what its record then tells. Raises: NotShared, OSError."""
    place = place_of(folder)
    if place is None:
        return {}
    kept = Path(folder, "outputs", "files", path)
    sha256 = hashlib.sha256(content).hexdigest()
    write_atomically(kept, content)
    with _before_the_journal():
        put(place, kept, content_key(folder, sha256))
    return {"sha256": sha256}


def bring_delivered(folder: Path, project: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write what tasks delivered elsewhere into this machine's project: later tasks may read it there.

    What was delivered on this machine is not touched: a person may have edited it since. Raises: AppError.
    """
    place = place_of(folder)
    if place is None:
        return
    latest = {record["path"]: record["sha256"] for record in records if record.get("sha256") and record.get("path")}
    for path, sha256 in latest.items():
        kept = Path(folder, "outputs", "files", path)
        if kept.is_file() and hash_file(kept) == sha256:
            continue
        if not bring(place, content_key(folder, sha256), kept, sha256):
            raise AppError(f"output_file {path!r} of run {folder.name} is not in the shared place {place.name}")
        target = inside(project, path)
        write_atomically(target, kept.read_bytes(), mode=0o644)


def share_outputs(folder: Path) -> None:
    """Share what the run's folder keeps for people. Raises: PlaceError."""
    place = place_of(folder)
    outputs = Path(folder, "outputs")
    if place is None or not outputs.is_dir():
        return
    for path in sorted(outputs.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            put(place, path, f"{folder.name}/{path.relative_to(folder).as_posix()}", again=True)


def share_payloads(folder: Path) -> None:
    """Share those payloads of the journal that lie only here: they were written when the place was out of reach.

    Raises: PlaceError.
    """
    place, payloads = place_of(folder), Path(folder, "payloads")
    if place is None or not payloads.is_dir():
        return
    for path in sorted(payloads.iterdir()):
        if not path.name.startswith("."):
            put(place, path, f"{folder.name}/payloads/{path.name}")


def bring_files(folder: Path, project: Path, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Make this machine's files those of the run, before it goes on; return warnings. Raises: AppError."""
    share_payloads(folder)
    warnings = bring_made(folder, records)
    bring_delivered(folder, project, records)
    return warnings


# -- what was done and could not be journaled


def keep_unsaved(folder: Path, token: str, record: Mapping[str, Any]) -> None:
    """Keep the record of a call that was made but could not be shared, so that it is not made again here."""
    write_atomically(_unsaved(folder, token), seal_bytes(json.dumps(record).encode()))


def find_unsaved(folder: Path, token: str) -> dict[str, Any] | None:
    """Return the record that was kept of this very call, or None."""
    with contextlib.suppress(FileNotFoundError):
        return json.loads(open_bytes(_unsaved(folder, token).read_bytes()))
    return None


def _unsaved(folder: Path, token: str) -> Path:
    return Path(folder, "unsaved", f"{token}.json")


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


def inside(folder: Path, path: str) -> Path:
    """Return the path in a folder. Raises: AppError when it leads out of it."""
    root = folder.resolve()
    target = (root / path).resolve()
    if not target.is_relative_to(root) or target == root:
        raise AppError(f"{path!r} leads out of {folder}")
    return target
