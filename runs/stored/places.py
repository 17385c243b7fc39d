"""A place that several machines share: a folder, or a store that fsspec can reach. Files come and go whole."""

import errno
import os
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from project.errors import AppError

# Their puts show the whole object or none. Elsewhere a file is written under another name and then moved.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "r2"}
_HOPELESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST)
"""Errors that the next try meets again."""
_FIX = "see that MUSTER_FILES leads to a place that is there, has room and may be written"


class PlaceError(AppError):
    """The shared place does not do what it is asked. `passing`: another try may help."""

    def __init__(self, what: str, fix: str = _FIX, *, passing: bool = False) -> None:
        super().__init__(what, fix=fix)
        self.passing = passing


class Place(Protocol):
    """Files by key: a relative path with `/`. Every method raises PlaceError when the place cannot be reached."""

    name: str
    """As people know it, without credentials."""

    def check(self) -> None:
        """See that the place is there."""
        ...

    def has(self, key: str) -> bool:
        """Say whether there is a file."""
        ...

    def send(self, file: Path, key: str) -> None:
        """Put a file there, whole or not at all; one of that key is replaced."""
        ...

    def fetch(self, key: str, target: Path) -> bool:
        """Write the file to `target`, which has nothing to lose; False when there is none."""
        ...

    def keys(self, folder: str) -> list[str]:
        """Return the keys below a folder, sorted."""
        ...

    def copy(self, key: str, to: str) -> None:
        """Copy a file inside the place."""
        ...

    def remove(self, folder: str) -> None:
        """Remove a folder with all that is in it, where it is there."""
        ...


def open_place(address: str) -> Place:
    """Return the place that MUSTER_FILES names: an absolute path, or a URL. Raises: PlaceError."""
    return UrlPlace(address) if "://" in address else FolderPlace(Path(address))


class FolderPlace:
    """A folder that every machine mounts. It is never made: an empty mount point would swallow what is put there."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder

    def check(self) -> None:
        if not self._folder.is_dir():
            raise PlaceError(f"the shared folder {self.name} is not there", "mount it, or make it")

    def has(self, key: str) -> bool:
        return (self._folder / key).is_file()

    def send(self, file: Path, key: str) -> None:
        self.check()
        with _told(f"{key} can't be put into the shared folder {self.name}"):
            target = self._folder / key
            _make_folders(target.parent, self._folder)
            temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
            try:
                with open(file, "rb") as source, open(temporary, "xb", opener=_private) as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                    copy.flush()
                    os.fsync(copy.fileno())
                os.replace(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(target.parent)

    def fetch(self, key: str, target: Path) -> bool:
        self.check()
        with _told(f"{key} can't be fetched from the shared folder {self.name}"):
            if not self.has(key):
                return False
            shutil.copyfile(self._folder / key, target)
            return True

    def keys(self, folder: str) -> list[str]:
        self.check()
        found = (Path(here) / name for here, _, names in os.walk(self._folder / folder) for name in names)
        return sorted(path.relative_to(self._folder).as_posix() for path in found if path.suffix != ".tmp")

    def copy(self, key: str, to: str) -> None:
        self.send(self._folder / key, to)

    def remove(self, folder: str) -> None:
        self.check()
        with _told(f"{folder} can't be removed from the shared folder {self.name}"):
            if (self._folder / folder).exists():
                shutil.rmtree(self._folder / folder)


class UrlPlace:
    """A store by URL, through fsspec. Its keys and secrets are found as fsspec finds them, in the environment."""

    def __init__(self, url: str) -> None:
        self.name = _without_secrets(url)
        protocol = url.partition("://")[0]
        try:
            # Heavy, and of no use to who has no URL.
            import fsspec.core as core  # pyright: ignore[reportMissingTypeStubs]

            self._fs, self._root = cast(Any, core).url_to_fs(url)
        except ImportError as error:
            raise PlaceError(f"MUSTER_FILES: {error}", f"install what fsspec needs for {protocol}://") from error
        except Exception as error:  # each store has errors of its own
            raise PlaceError(f"the shared place {self.name} can't be opened: {_first_line(error)}") from error
        self._root = str(self._root).rstrip("/")
        self._whole_puts = protocol in _OBJECT_STORES

    def check(self) -> None:
        """Nothing: a store that is not there says so when it is used."""

    def has(self, key: str) -> bool:
        with self._asked(key):
            self._fs.invalidate_cache()
            return bool(self._fs.exists(self._at(key)))

    def send(self, file: Path, key: str) -> None:
        with self._asked(f"{key} can't be put into"):
            target = self._at(key)
            if self._whole_puts:
                self._fs.put_file(str(file), target)
                return
            folder, _, _ = target.rpartition("/")
            temporary = f"{folder}/{uuid.uuid4().hex}.tmp"
            self._fs.makedirs(folder, exist_ok=True)
            try:
                self._fs.put_file(str(file), temporary)
                self._fs.mv(temporary, target)
            except BaseException:
                if self._fs.exists(temporary):
                    self._fs.rm(temporary)
                raise

    def fetch(self, key: str, target: Path) -> bool:
        if not self.has(key):
            return False
        with self._asked(f"{key} can't be fetched from"):
            self._fs.get_file(self._at(key), str(target))
        return True

    def keys(self, folder: str) -> list[str]:
        with self._asked(f"{folder} can't be listed in"):
            self._fs.invalidate_cache()
            found: list[str] = self._fs.find(self._at(folder))
        cut = [path[path.index(self._at(folder)) + len(self._root) :].lstrip("/") for path in found]
        return sorted(key for key in cut if not key.endswith(".tmp"))

    def copy(self, key: str, to: str) -> None:
        with self._asked(f"{key} can't be copied in"):
            self._fs.makedirs(self._at(to).rpartition("/")[0], exist_ok=True)
            self._fs.copy(self._at(key), self._at(to))

    def remove(self, folder: str) -> None:
        with self._asked(f"{folder} can't be removed from"):
            if self._fs.exists(self._at(folder)):
                self._fs.rm(self._at(folder), recursive=True)

    def _at(self, key: str) -> str:
        return f"{self._root}/{key}"

    @contextmanager
    def _asked(self, what: str) -> Generator[None]:
        try:
            yield
        except Exception as error:  # each store has errors of its own
            passing = not isinstance(error, PermissionError) and getattr(error, "errno", None) not in _HOPELESS
            why = getattr(error, "strerror", None) or _first_line(error)
            raise PlaceError(f"{what} the shared place {self.name}: {why}", passing=passing) from error


@contextmanager
def _told(what: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise PlaceError(f"{what}: {error.strerror}", passing=error.errno not in _HOPELESS) from error


def _make_folders(folder: Path, root: Path) -> None:
    if folder.is_dir():
        return
    for one in [*reversed(folder.relative_to(root).parents), folder.relative_to(root)]:
        (root / one).mkdir(mode=0o700, exist_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _without_secrets(url: str) -> str:
    protocol, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{protocol}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
