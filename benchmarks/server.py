"""The scripted model server in a process of its own, so that its work is not counted as the client's."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
_SECONDS = 10


class Server:
    """For `with`. Settings are those of tests/server_wire.py by name, e.g. latency="50", rates={"500": 0.1}."""

    def __init__(self, **settings: Any) -> None:
        command = [sys.executable, str(ROOT / "tests" / "scripted_server.py"), "--port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().split()[-1])
        self.configure(**settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def base_url(self) -> str:
        """What an OpenAI client wants as its `base_url`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def configure(self, **settings: Any) -> None:
        """Change settings by name. Raises: urllib.error.HTTPError for one that does not exist or is wrong."""
        self._post("/_config", settings)

    def reset(self) -> None:
        """Forget requests and counts."""
        self._post("/_reset", {})

    def get(self, path: str) -> Any:
        """Return the JSON behind a door: /_stats or /_requests."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=_SECONDS) as response:
            return json.load(response)

    def _post(self, path: str, value: Any) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(value).encode())
        urllib.request.urlopen(request, timeout=_SECONDS).close()
