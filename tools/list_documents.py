"""The tool `list_documents`."""

from pathlib import Path
from typing import Annotated

from muster import ToolContext, tool
from tools.documents import SUFFIXES, Document, Library, open_library
from tools.tool import FIXED


@tool(effect="read", timeout_seconds=120, cache=True)
def list_documents(folder: Annotated[str, FIXED], context: ToolContext) -> str:
    """List the documents that can be searched and read, each with its length and title.

    Also names the files that could not be read, and why.
    """
    library = open_library(context.project / folder)
    documents = [_described(document) for document in library.documents.values()]
    if not documents:
        documents = [f"No document here can be read; {', '.join(SUFFIXES)} are."]
    skipped = [f"{path}: not read: {reason}" for path, reason in library.skipped]
    return "\n".join([*documents, *skipped, *_others(library)])


def _described(document: Document) -> str:
    length = f"{document.count} {document.unit}{'' if document.count == 1 else 's'}"
    title = f', "{document.title}"' if document.title else ""
    note = f" ({document.note})" if document.note else ""
    return f"{document.path} ({length}{title}){note}"


def _others(library: Library) -> list[str]:
    if not library.others:
        return []
    kinds = sorted({Path(path).suffix.lower() or "no suffix" for path in library.others})
    shown = ", ".join(kinds[:10]) + (", …" if len(kinds) > 10 else "")
    count = "1 file" if len(library.others) == 1 else f"{len(library.others)} files"
    return [f"Of other kinds, not read: {count} ({shown})"]
