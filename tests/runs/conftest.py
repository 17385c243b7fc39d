"""A scripted model server that is the project's default model."""

from collections.abc import Iterator

import pytest

from tests.lab import ONE_AGENT, Lab
from tests.scripted_server import ScriptedServer


@pytest.fixture(scope="module")
def _server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server
