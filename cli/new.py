"""`muster new`: make a project from the starter."""

import shutil
from pathlib import Path

import typer

from cli.output import result, say
from cli.session import APPLICATION

_IGNORED = ".muster/\n.env\noutput/\n"
_ENV = "# Keys of model providers; read by Muster, never printed.\n# OPENAI_API_KEY=\n"
_STARTER = ("config", "docs/background")


def new(folder: str = typer.Argument(..., metavar="DIR", help="The folder to make.")) -> None:
    """Make a project folder: the starter's crews, and a few documents to try them on."""
    from project.errors import UsageError

    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{folder} is there already and not an empty folder", fix="choose another name")
    for part in _STARTER:
        shutil.copytree(APPLICATION / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tools", "guardrails"):
        (target / name).mkdir()
    (target / ".gitignore").write_text(_IGNORED)
    (target / ".env.example").write_text(_ENV)
    result(str(target))
    say(f"try: cd {target} && muster run brief -i topic='durable execution'")
    say("your own: config/agents.yaml, tasks.yaml, crews.yaml; tools in tools/*.py; `muster check` reads them all")
