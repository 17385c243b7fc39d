"""User Python, loaded by its path under a private name: nothing of it can hide a module of ours."""

import hashlib
import importlib.util
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from project.errors import AppError, Where

TOOL_MARK = "__muster_tool__"
GUARDRAIL_MARK = "__muster_guardrail__"
"""What `@tool` and `@guardrail` leave on a function."""

# One load a process and file content: a module is state, and two loads would make two of each of its classes.
_loaded: dict[tuple[str, str], ModuleType] = {}
_lock = threading.RLock()
_FROM_DISK: Mapping[Path, bytes] = MappingProxyType({})
_PREFIX = "_muster_user_"


def load_functions(folder: Path, mark: str) -> dict[str, Callable[..., Any]]:
    """Return the functions that carry the attribute `mark`, from every *.py file right in `folder`.

    While it is loaded, a file may import its neighbours by their bare names (`import sibling`, at the top of the file);
    a library or a module of ours with that name comes first.

    Raises: AppError (exit 3) with file and line when a file fails while it is loaded, or a name is taken twice.
    """
    found: dict[str, Callable[..., Any]] = {}
    for path in sorted(folder.glob("*.py")) if folder.is_dir() else []:
        for name, function in load_file(path, mark).items():
            if name in found:
                where = Where(f"{folder.name}/{path.name}", function.__code__.co_firstlineno, 1, name)
                first = Path(found[name].__code__.co_filename).name
                what = f"a second function of this name; the first is in {folder.name}/{first}"
                raise AppError(what, where=where, fix="give each a name of its own", exit_code=3)
            found[name] = function
    return found


def load_file(path: Path, mark: str, given: Mapping[Path, bytes] = _FROM_DISK) -> dict[str, Callable[..., Any]]:
    """Return the functions that carry the attribute `mark` and are defined in one file.

    Where `given` has the content of a file, that is loaded, whatever the disk says by now.

    Raises: as `load_functions`.
    """
    module = _load(path, given)
    return {
        value.__name__: value
        for value in vars(module).values()
        if callable(value) and hasattr(value, mark) and getattr(value, "__module__", "") == module.__name__
    }


def load_modules(folder: Path, word: str) -> list[ModuleType]:
    """Return the modules of the *.py files right in `folder` in which `word` stands. Raises: as `load_functions`."""
    paths = sorted(folder.glob("*.py")) if folder.is_dir() else []
    return [_load(path) for path in paths if word.encode() in path.read_bytes()]


def sources_of(function: Callable[..., Any]) -> dict[Path, bytes] | None:
    """Return the content of a user function's file and of its neighbours as they were loaded, its own first.

    None for a function that was not loaded from a file of the user's.
    """
    module = sys.modules.get(getattr(function, "__module__", ""))
    if module is None or not module.__name__.startswith(_PREFIX):
        return None
    with _lock:
        found = {Path(path): loaded for (path, _), loaded in _loaded.items()}  # of several versions the last
    own = Path(str(module.__file__)).resolve()
    beside = {path: loaded for path, loaded in found.items() if path.parent == own.parent and path != own}
    return {path: vars(loaded)["__muster_source__"] for path, loaded in {own: module, **beside}.items()}


def _load(path: Path, given: Mapping[Path, bytes] = _FROM_DISK) -> ModuleType:
    try:
        source = given[path.resolve()] if path.resolve() in given else path.read_bytes()
    except OSError as error:
        where = Where(f"{path.parent.name}/{path.name}", 1, 1)
        raise AppError(f"can't be read: {error.strerror}", where=where, exit_code=3) from error
    key = (str(path.resolve()), hashlib.sha256(source).hexdigest())
    with _lock:
        if key not in _loaded:
            name = f"{_PREFIX}{path.stem}_{hashlib.sha256(''.join(key).encode()).hexdigest()[:12]}"
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            _loaded[key] = sys.modules[name] = importlib.util.module_from_spec(spec)
            vars(_loaded[key])["__muster_source__"] = source
            try:
                _execute(_loaded[key], source, path, given)
            except BaseException:
                del _loaded[key], sys.modules[name]
                raise
        return _loaded[key]


def _execute(module: ModuleType, source: bytes, path: Path, given: Mapping[Path, bytes]) -> None:
    with _neighbours(path.parent, given):
        try:
            # Not by the module's loader: cached bytecode counts as fresh when only size and second of a file agree, and
            # what runs must be what was hashed.
            exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
        except AppError:
            raise
        except (Exception, SystemExit) as error:  # user code: whatever it raises is the user's to read
            raise AppError(
                f"can't be loaded: {type(error).__name__}: {error}",
                where=Where(f"{path.parent.name}/{path.name}", _line_of(error, path), 1),
                fix="mend the file; it is run when a crew that needs it starts",
                exit_code=3,
            ) from error


def _line_of(error: BaseException, path: Path) -> int:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else None) or 1


@contextmanager
def _neighbours(folder: Path, given: Mapping[Path, bytes]) -> Generator[None]:
    """Let the files of `folder` be imported by their bare names, and forget those names afterwards.

    Kept, they would be what the next project's `import shared` finds.
    """
    finder = _Neighbours(folder, given)
    sys.meta_path.append(finder)  # last: a neighbour called like a library must not replace it
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in finder.names:
            sys.modules.pop(name, None)


class _Neighbours(MetaPathFinder, Loader):
    """Finds the files of one folder, and loads each as `load_functions` does."""

    def __init__(self, folder: Path, given: Mapping[Path, bytes]) -> None:
        self._folder, self._given = folder, given
        self.names: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or not (self._folder / f"{fullname}.py").is_file():
            return None
        self.names.append(fullname)
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _load(self._folder / f"{spec.name}.py", self._given)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module came loaded."""
