"""What the arguments of a call name: paths, and the domains of addresses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def places_in(arguments: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Return the paths among `arguments` by argument, links resolved; relative where they lie in `folder`."""
    return {}
