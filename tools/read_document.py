"""The tool `read_document`."""

from typing import Annotated

from pydantic import Field

from muster import ToolContext, tool
from tools.documents import Document, open_library
from tools.markup import printable
from tools.tool import FIXED


@tool(effect="read", timeout_seconds=120, cache=True)
def read_document(
    path: str,
    folder: Annotated[str, FIXED],
    context: ToolContext,
    start: Annotated[int, Field(ge=1)] = 1,
    lines: Annotated[int, Field(ge=1, le=2000)] = 200,
) -> str:
    """Read a document, or a part of it, with the number of each line in front of it.

    The numbers are those to cite: lines, for a .docx paragraphs, for a .pdf pages (cited as `[path p.N]`).

    Args:
        path: The document's path as list_documents and search_documents show it, without a line number.
        start: Number of the first line to read, of the first page for a .pdf.
        lines: How many lines to read; a page of a .pdf is never cut.
    """
    document = open_library(context.project / folder).document(path)
    if not document.lines:
        return f"{path} is empty."
    shown = [line for line in document.lines if line[0] >= start]
    if not shown:
        return f"There is nothing from {start} on: the last {document.unit} is {document.lines[-1][0]}."
    # Lines that share a number stay together, or reading on could never get past it.
    last = shown[min(lines, len(shown)) - 1][0]
    shown = [line for line in shown if line[0] <= last]
    return "\n".join([*(f"{number}  {printable(text).rstrip()}" for number, text in shown), *_note(document, shown)])


def _note(document: Document, shown: list[tuple[int, str]]) -> list[str]:
    first, last = shown[0][0], shown[-1][0]
    following = next((number for number, _ in document.lines if number > last), None)
    if following is None:
        return []
    return [f"[{document.unit}s {first}–{last} of {document.count} shown; read on with start={following}]"]
