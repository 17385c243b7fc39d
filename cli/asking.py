"""A question at this terminal, while the run waits; an answer from another terminal is taken over at once."""

import json
import os
import select
import shlex
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import TYPE_CHECKING

from cli.output import say, write
from cli.questions_shown import fitted
from project.errors import UsageError

if TYPE_CHECKING:
    from runs.people.questions import Question

_LOOK_SECONDS = 0.5
_MOST_SHOWN = 200


class _Ended(Exception):
    """Nobody here needs to answer any more; its text is what another terminal said."""


def ask_at_terminal(question: "Question") -> str:
    """Return what the person here says, or what another one has said meanwhile; "" when the run is told to stop.

    Of a call it is what `read_typed` reads. Raises: EOFError at the end of the input; KeyboardInterrupt.
    """
    if (elsewhere := _from_elsewhere(question)) is not None:  # it had to wait for the question before it
        return elsewhere
    say(f"\n{fitted(question.text, sys.stderr)}\n")
    try:
        return _ask_about_call(question) if question.terms is not None else _ask(question)
    except _Ended as ended:
        return str(ended)


def _ask(question: "Question") -> str:
    choices = f" ({' / '.join(question.choices)})" if question.choices else ""
    edits = "; `e` opens it in your editor" if question.editable else ""
    said = _read_line(question, f"{question.prompt}{choices}{edits}: ")
    while question.editable and said.strip() == "e":
        try:
            said = open_editor(question.editable, ".yaml") or ""  # what was not changed accepts it
        except UsageError as error:
            say(str(error))
            said = _read_line(question, f"{question.prompt}{choices}{edits}: ")
    elsewhere = _from_elsewhere(question)
    return said if elsewhere is None else elsewhere


def _ask_about_call(question: "Question") -> str:
    """Ask until something is said that means something; nothing else approves the call."""
    prompt = f"{question.prompt}\n`y` approves, `n` rejects, `e` edits the arguments, `w` leaves it waiting: "
    while True:
        said = _read_line(question, prompt).strip()
        match said.lower():
            case "n" | "no":
                reason = _read_line(question, "why (the agent reads it): ").strip()
                if reason:
                    return f"n {reason}"
            case "e" | "edit":
                edited = _edit_arguments(question.editable)
                if edited:
                    return edited
            case _:
                return said


def _read_line(question: "Question", prompt: str) -> str:
    """Return a line that is typed here. Raises: _Ended; EOFError; KeyboardInterrupt."""
    write(sys.stderr, prompt)
    while not select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
        if question.dropped():
            say("")  # what is said next begins a line of its own
            raise _Ended
        if (elsewhere := _from_elsewhere(question)) is not None:
            termios.tcflush(sys.stdin, termios.TCIFLUSH)  # half a line must not become part of the next answer
            raise _Ended(elsewhere)
    said = sys.stdin.readline()
    if not said:
        raise EOFError
    return said.rstrip("\n")


def _from_elsewhere(question: "Question") -> str | None:
    """Return the answer of another terminal, and say so; None while there is none."""
    answer = question.answered()
    if answer is None:
        return None
    said = " ".join(answer.said.split())[:_MOST_SHOWN] or "accepted"
    say(f"\n{question.task}: answered by {answer.by}: {said}")
    return answer.said


def _edit_arguments(text: str) -> str:
    """Let a person edit arguments; return them as a JSON object, "" where they are as before or can't be read."""
    from runs.people.questions import read_mapping

    try:
        edited = open_editor(text, ".json")
        if edited is not None:
            return json.dumps(read_mapping(edited))
        say("nothing was changed")
    except UsageError as error:
        say(str(error))
    return ""


def open_editor(text: str, ending: str) -> str | None:
    """Let a person edit a text in $VISUAL, $EDITOR or vi; None where nothing was changed. Raises: UsageError."""
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8", prefix="muster-", suffix=ending) as file:
        file.write(text)
        file.flush()
        try:
            subprocess.run([*command, file.name], check=True)
            edited = Path(file.name).read_text(encoding="utf-8")  # an editor may have put another file in its place
        except (OSError, subprocess.CalledProcessError, UnicodeDecodeError) as error:
            raise UsageError(f"the editor {command[0]} failed: {error}", fix="$EDITOR names one that works") from error
    return None if edited.strip() == text.strip() else edited
