import json
import os
import re
import tempfile
from pathlib import Path

from muster import ToolContext, tool

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\.md")


@tool(effect="write", repeat="safe", returns="trusted", timeout_seconds=20)
def publish_page(path: str, text: str, context: ToolContext) -> str:
    """Publish a page: write it into the site and enter it in the index. A page of that name is replaced.

    Args:
        path: Name of the page, such as green-roofs.md: small letters, digits and hyphens.
        text: The whole page in Markdown; its first heading becomes its title.
    """
    if not _NAME.fullmatch(path):
        raise ValueError(f"{path!r} is refused: give a name such as green-roofs.md")
    title = next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), "")
    if not title:
        raise ValueError("the page has no title: begin it with a line `# Title`")
    site = context.project / "site"
    _replace(site / path, text.rstrip() + "\n")
    index = _read_index(site)
    index[path] = title
    _replace(site / "index.json", json.dumps(dict(sorted(index.items())), ensure_ascii=False, indent=2) + "\n")
    return f"published {path} with the title {title!r}"


def _read_index(site: Path) -> dict[str, str]:
    path = site / "index.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(name, path)
