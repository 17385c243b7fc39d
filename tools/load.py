"""User Python, loaded by its path under a private name: nothing of it can hide a module of ours."""

import hashlib
import importlib.util
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from project.errors import AppError, Where

# One load a process and file content: a module is state, and two loads would make two of each of its classes.
_loaded: dict[tuple[str, str], ModuleType] = {}
_lock = threading.Lock()


def load_functions(folder: Path, mark: str) -> dict[str, Callable[..., Any]]:
    """Return the functions that carry the attribute `mark`, from every *.py file right in `folder`.

    A file may import its neighbours by their bare names (`import sibling`).

    Raises: AppError with file and line when a file fails while it is loaded.
    """
    found: dict[str, Callable[..., Any]] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.glob("*.py")):
        module = _load(path)
        for name, value in vars(module).items():
            if callable(value) and hasattr(value, mark) and getattr(value, "__module__", "") == module.__name__:
                found[name] = value
    return found


def _load(path: Path) -> ModuleType:
    source = path.read_bytes()
    key = (str(path.resolve()), hashlib.sha256(source).hexdigest())
    with _lock:
        if key not in _loaded:
            _loaded[key] = _execute(path, key[1])
        return _loaded[key]


def _execute(path: Path, digest: str) -> ModuleType:
    name = f"_muster_user_{path.stem}_{digest[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up
    sys.path.append(str(path.parent))  # last: a neighbour called like a library must not replace it
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # user code: whatever it raises is the user's to read
        del sys.modules[name]
        raise AppError(
            f"can't be loaded: {type(error).__name__}: {error}",
            where=Where(f"{path.parent.name}/{path.name}", _line_of(error, path), 1),
            fix="mend the file; it is run when a crew that needs it starts",
        ) from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _line_of(error: Exception, path: Path) -> int:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else None) or 1
