"""The tool `search_documents`."""

from typing import Annotated

from pydantic import Field

from muster import ToolContext, tool
from tools.documents import SUFFIXES, Hit, open_library
from tools.tool import FIXED

_MAX_HEADING = 60


@tool(effect="read", timeout_seconds=120, cache=True)
def search_documents(
    query: str,
    folder: Annotated[str, FIXED],
    context: ToolContext,
    limit: Annotated[int, Field(ge=1, le=50)] = 12,
) -> str:
    """Search the documents by words and get the sentences that match, best first, each with the place it stands in.

    Every result is one line: `[path:line § Heading] sentence`, or `[path p.N § Heading] sentence` for a page of a PDF.
    To cite a sentence, copy it word for word and put its `[path:line]` after it. read_document shows what is around it.

    Args:
        query: Words that the passage should contain; not a question in full. Other forms of a word are found too.
        limit: Most sentences to return.
    """
    library = open_library(context.project / folder)
    documents = "1 document" if len(library.documents) == 1 else f"{len(library.documents)} documents"
    asked = " ".join(query.split())
    if not library.documents:
        return f"There is no document to search: none of the files can be read; {', '.join(SUFFIXES)} are."
    hits = library.search(query, limit)
    if not hits:
        return f'No passage about "{asked}" was found in {documents}.'
    count = "1 passage" if len(hits) == 1 else f"{len(hits)} passages"
    return "\n".join([f'{count} for "{asked}" in {documents}:', *map(_line, hits)])


def _line(hit: Hit) -> str:
    heading = hit.heading.translate({ord("["): "(", ord("]"): ")"})
    if len(heading) > _MAX_HEADING:
        heading = heading[: _MAX_HEADING - 1].rstrip() + "…"
    return f"[{hit.citation}{' § ' + heading if heading else ''}] {hit.text}"
