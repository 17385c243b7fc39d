"""Nothing leaves the machine unasked, and the home folder is left alone: said to CrewAI before it is imported."""

import importlib
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

# Each was found on the network or in the home folder with its default (docs/architecture.md, "Quiet").
_OFF = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_TESTING": "true",
    "CREWAI_TOOLS_FORCE_SAFE_PATHS": "true",
    "OTEL_SDK_DISABLED": "true",
    "ANONYMIZED_TELEMETRY": "False",
    "SCARF_NO_ANALYTICS": "true",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


def prepare(state_folder: Path) -> None:
    """Import CrewAI with everything off that talks, asks or writes outside `state_folder`. Safe to call again."""
    if "crewai" in sys.modules:
        return
    os.environ.update(_OFF)
    home = state_folder / "crewai"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["CREWAI_STORAGE_DIR"] = str(home)
    for name in ("crewai", "openai", "httpx", "httpcore", "crewai.llms.base_llm", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger().addHandler(logging.NullHandler())  # CrewAI calls logging.error(), which would add a noisy one
    with _home(home):
        importlib.import_module("crewai")
    _silence_console()


@contextmanager
def _home(folder: Path) -> Generator[None]:
    # CrewAI writes a key file into the home folder when imported, and fails where it can't.
    names = ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
    kept = {name: os.environ.get(name) for name in names}
    os.environ["HOME"] = str(folder)
    for name in names[1:]:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _silence_console() -> None:
    """Take CrewAI's own console listener off the event bus; listeners that others add still hear what is emitted."""
    bus_module = importlib.import_module("crewai.events.event_bus")
    listener_module = importlib.import_module("crewai.events.event_listener")
    bus = bus_module.crewai_event_bus
    with bus._rwlock.w_locked():
        for handlers in (bus._sync_handlers, bus._async_handlers):
            for event_type, registered in list(handlers.items()):
                kept = frozenset(item for item in registered if item.__module__ != listener_module.__name__)
                if kept:
                    handlers[event_type] = kept
                else:
                    del handlers[event_type]
        bus._handler_dependencies.clear()
        bus._execution_plan_cache.clear()
