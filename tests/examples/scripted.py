"""Hand-written answers of examples, served as a model's: which one comes is a pure function of the messages.

    python -m tests.examples.scripted FILE [LATENCY_MS]     serves them on a free port of 127.0.0.1, which it prints

A file in answers/ is a list of entries; the first that fits a conversation answers it:

    role: Writer                  the agent, as its system message names it; `(judge)` judges demands in plain words
    words: [late return]          stand in the first user message: the task
    unless: [ticket 1042]         stand nowhere in it
    last: [did not approve]       stand in the last message
    calls: [search_documents: {query: late}]      made first, one a reply
    answers: [first, second]      text or object; the second one after the first was sent back, and so on
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.scripted_server import Json, Reply, ScriptedServer, ToolCall
from tests.server_script import ScriptError, Turn, read_turns

JUDGE = "(judge)"
"""In place of a role: who judges demands in plain language."""
_JUDGE = "You check a text against one demand."
ANSWERS = Path(__file__).resolve().parent / "answers"


@dataclass(frozen=True)
class Entry:
    """One entry of a file of answers."""

    role: str
    answers: Sequence[Any]
    words: Sequence[str] = ()
    unless: Sequence[str] = ()
    last: Sequence[str] = ()
    calls: Sequence[dict[str, Any]] = field(default=())

    def fits(self, turns: Sequence[Turn]) -> bool:
        """Say whether the entry answers a conversation."""
        system = next((turn.text for turn in turns if turn.role == "system"), "")
        task = next((turn.text for turn in turns if turn.role == "user"), "")
        opening = _JUDGE if self.role == JUDGE else f"You are {self.role}."
        return (
            _holds(system, [opening])
            and _holds(task, self.words)
            and not any(_holds(task, [word]) for word in self.unless)
            and _holds(turns[-1].text, self.last)
        )


def read_answers(name: str) -> list[Entry]:
    """Read the answers of an example."""
    found: list[Json] = yaml.safe_load((ANSWERS / f"{name}.yaml").read_text(encoding="utf-8"))
    return [Entry(**entry) for entry in found]


def script_of(entries: Sequence[Entry]) -> Callable[[list[Json], list[Json]], Reply]:
    """Return what answers a request by these entries. It raises ScriptError where no entry fits."""

    def script(messages: list[Json], tools: list[Json]) -> Reply:
        turns = read_turns(messages)
        entry = next((entry for entry in entries if entry.fits(turns)), None)
        if entry is None:
            shown = " … ".join(turn.text[:200] for turn in turns[:2])
            raise ScriptError(f"no answer was written for: {shown}")
        return _next_reply(entry, turns, {str(tool.get("name")) for tool in tools})

    return script


def _next_reply(entry: Entry, turns: Sequence[Turn], offered: set[str]) -> Reply:
    made = sum(turn.role == "tool" for turn in turns)
    if made < len(entry.calls):
        ((name, arguments),) = entry.calls[made].items()
        if name not in offered:
            raise ScriptError(f"{entry.role} was not offered {name}, but {sorted(offered)}")
        return Reply(calls=(ToolCall(name, json.dumps(arguments)),))
    refused = sum(turn.role == "assistant" and bool(turn.text.strip()) and not turn.calls for turn in turns)
    answer = entry.answers[min(refused, len(entry.answers) - 1)]
    return Reply(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))


def _holds(text: str, words: Sequence[str]) -> bool:
    flat = " ".join(text.split()).casefold()
    return all(" ".join(word.split()).casefold() in flat for word in words)


def main() -> None:
    name, latency = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "0"
    with ScriptedServer(script_of(read_answers(name)), latency=latency) as server:
        print(f"listening on {server.port}", flush=True)
        sys.stdin.read()  # until whoever started it goes


if __name__ == "__main__":
    main()
