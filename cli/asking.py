"""A question at this terminal, while the run waits; an answer from another terminal is taken over at once."""

import select
import sys
import termios
from typing import TYPE_CHECKING, Any, cast

import typer

from cli.output import say, write

if TYPE_CHECKING:
    from runs.questions import Question

_LOOK_SECONDS = 0.5
_MOST_SHOWN = 200


def ask_at_terminal(question: "Question") -> str:
    """Return what the person here says, or what another one has said meanwhile; "" when the run is told to stop.

    Raises: EOFError at the end of the input; KeyboardInterrupt.
    """
    if (elsewhere := _from_elsewhere(question)) is not None:  # it had to wait for the question before it
        return elsewhere
    say(f"\n{question.text}\n")
    choices = f" ({' / '.join(question.choices)})" if question.choices else ""
    edits = "; `e` opens it in your editor" if question.editable else ""
    write(sys.stderr, f"{question.prompt}{choices}{edits}: ")
    while not select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
        if question.dropped():
            say("")  # what is said next begins a line of its own
            return ""
        if (elsewhere := _from_elsewhere(question)) is not None:
            termios.tcflush(sys.stdin, termios.TCIFLUSH)  # half a line must not become part of the next answer
            return elsewhere
    said = sys.stdin.readline()
    if not said:
        raise EOFError
    said = said.rstrip("\n")
    if question.editable and said.strip() == "e":
        said = _edit(question.editable)
    elsewhere = _from_elsewhere(question)
    return said if elsewhere is None else elsewhere


def _from_elsewhere(question: "Question") -> str | None:
    """Return the answer of another terminal, and say so; None while there is none."""
    answer = question.answered()
    if answer is None:
        return None
    said = " ".join(answer.said.split())[:_MOST_SHOWN] or "accepted"
    say(f"\n{question.task}: answered by {answer.by}: {said}")
    return answer.said


def _edit(text: str) -> str:
    """Let a person edit YAML; what was not changed accepts it."""
    edited: str | None = cast(Any, typer).edit(text, extension=".yaml")
    return "" if edited is None or edited.strip() == text.strip() else edited
