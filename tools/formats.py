"""Files of the formats that can be read → documents: numbered lines for reading, blocks for searching and citing."""

import logging
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

from tools.blocks import Block, Kind, text_blocks
from tools.markup import one_line, strip_markup

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from pypdf import PdfReader

SUFFIXES = (".md", ".markdown", ".txt", ".rst", ".html", ".htm", ".pdf", ".docx")
"""Suffixes of the files that are read, in small letters."""

_MAX_UNPACKED = 200_000_000
_MAX_OPEN = 20_000
_CELLS = " | "
_HTML_HIDDEN = ("script", "style", "noscript", "template", "svg", "nav", "form", "button", "select", "textarea", "head")
_HTML_VOID = (
    "area",
    "base",
    "br",
    "col",
    "embed",
    "hr",
    "img",
    "input",
    "link",
    "meta",
    "param",
    "source",
    "track",
    "wbr",
)
_HTML_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_HTML_BLOCKS = (
    *_HTML_HEADINGS,
    *("address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "div", "dl", "dt", "figcaption"),
    *("figure", "footer", "header", "html", "li", "main", "ol", "p", "pre", "section", "summary", "table", "tbody"),
    *("tfoot", "thead", "tr", "ul"),
)


class Unreadable(Exception):
    """A file that is not read; the text says why."""


@dataclass(frozen=True)
class Document:
    """One file as it is read."""

    path: str
    """Relative to the folder, with `/`."""
    unit: Literal["line", "paragraph", "page"]
    """What is counted: lines of the source, for .docx paragraphs, for .pdf pages."""
    count: int
    """How many of them there are."""
    title: str
    """Empty when the file does not tell."""
    lines: tuple[tuple[int, str], ...]
    """(number, text) for reading; lines of one PDF page share its number, HTML elements that of their first line."""
    blocks: tuple[Block, ...]
    """For searching and citing."""
    note: str = ""
    """What a reader should know, such as a doubtful encoding."""

    def citation(self, number: int) -> str:
        """Return how the line, paragraph or page `number` is cited: `notes.md:12`, `paper.pdf p.3`."""
        return f"{self.path} p.{number}" if self.unit == "page" else f"{self.path}:{number}"


def read_file(path: str, content: bytes) -> Document:
    """Return the document at `path` (relative, with a suffix of SUFFIXES) that holds `content`.

    Raises: Unreadable, and nothing else, whatever the content is.
    """
    suffix = path[path.rfind(".") :].lower()
    readers: dict[str, Callable[[str, bytes], Document]] = {
        ".pdf": _read_pdf, ".docx": _read_docx, ".html": _read_html, ".htm": _read_html
    }  # fmt: skip
    try:
        return readers.get(suffix, _read_text)(path, content)
    except Unreadable:
        raise
    except Exception as error:  # the libraries raise nearly anything on damaged files
        raise Unreadable(f"damaged ({type(error).__name__})") from error


def _decoded(content: bytes) -> tuple[str, str]:
    """Return the text and, where the encoding is in doubt, a note."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            return content.decode(encoding, "replace"), ""
    if b"\0" in content:
        raise Unreadable("binary")
    try:
        return content.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        return content.decode(
            "utf-8-sig", "replace"
        ), "not UTF-8: characters that could not be read are shown as \ufffd"


def _split_lines(text: str) -> list[str]:
    # Not splitlines(): it also splits at form feeds and the like, and line numbers would not be those of an editor.
    text = text.replace("\r\n", "\n")
    lines = text.split("\n" if "\n" in text or "\r" not in text else "\r")
    return lines[:-1] if lines[-1] == "" else lines


def _title(blocks: Sequence[Block]) -> str:
    return next((block.heading for block in blocks if block.kind == "heading"), "")


def _read_text(path: str, content: bytes) -> Document:
    text, note = _decoded(content)
    lines = _split_lines(text)
    blocks = text_blocks(lines, path[path.rfind(".") :].lower())
    return Document(path, "line", len(lines), _title(blocks), tuple(enumerate(lines, 1)), tuple(blocks), note)


def _read_html(path: str, content: bytes) -> Document:
    from bs4 import BeautifulSoup

    text, note = _decoded(content)
    closed = _closed(text)
    _refuse_depth(closed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bs4 wonders aloud whether the text is XML, or a file's name
        soup = BeautifulSoup(closed, "html.parser")
    title = one_line(soup.title.get_text()) if soup.title else ""
    blocks = list(_html_blocks(soup))
    lines = tuple((block.start, one_line("\n".join(block.lines))) for block in blocks)
    return Document(path, "line", len(_split_lines(text)), title or _title(blocks), lines, tuple(blocks), note)


def _refuse_depth(text: str) -> None:
    """Raise Unreadable for HTML with so many open elements that the parser, which needs their square, takes minutes."""
    counts: Counter[str] = Counter()
    depth = 0
    for tag in re.finditer(r"<(/?)([A-Za-z][A-Za-z0-9:-]*)", text):
        name = tag[2].lower()
        if tag[1]:
            depth -= min(counts[name], 1)
            counts[name] = max(counts[name] - 1, 0)
        elif name not in _HTML_VOID:
            depth += 1
            counts[name] += 1
        if depth > _MAX_OPEN:
            raise Unreadable("more than 20,000 elements that are not closed")


def _closed(text: str) -> str:
    # What is begun and never ended, the parser tries again from every character: the square of the length.
    end = text.rfind("-->") + 1
    text = text[:end] + text[end:].replace("<!--", "&lt;!--")
    end = text.rfind(">") + 1
    return text[:end] + text[end:].replace("<", "&lt;")


def _html_blocks(soup: "BeautifulSoup") -> Iterator[Block]:
    heading = ""
    for holder, text in _html_runs(soup):
        name, start = (holder.name, holder.sourceline or 1) if holder else ("p", 1)
        kind: Kind = "prose"
        if name in _HTML_HEADINGS:
            kind, heading = "heading", one_line(strip_markup(text))
        elif name in ("tr", "pre"):
            kind = "table" if name == "tr" else "code"
        line = one_line(text) if kind == "code" else one_line(strip_markup(one_line(text)))
        if re.search(r"\w", line):
            yield Block(kind, start, (line.strip(_CELLS) if kind == "table" else line,), heading)


def _html_runs(soup: "BeautifulSoup") -> "Iterator[tuple[Tag | None, str]]":
    """Yield the text that stands together, with the element that holds it; in one pass, whatever the nesting."""
    from bs4.element import NavigableString, Tag

    holders: dict[int, Tag | None] = {id(soup): None}
    hidden: set[int] = set()
    rows: set[int] = set()
    holder: Tag | None = None
    parts: list[str] = []
    for node in soup.descendants:
        around = id(node.parent)
        if isinstance(node, Tag):
            holders[id(node)] = node if node.name in _HTML_BLOCKS else holders[around]
            if node.name in _HTML_HIDDEN or around in hidden:
                hidden.add(id(node))
            elif node.name == "br" or (node.name in ("td", "th") and around in rows):
                parts.append("\n" if node.name == "br" else _CELLS)
            elif node.name in ("td", "th"):
                rows.add(around)
        elif type(node) is NavigableString and around not in hidden:  # comments and the doctype are subclasses
            if holders[around] is not holder and parts:
                yield holder, "".join(parts)
                parts = []
            holder = holders[around]
            parts.append(node)
    if parts:
        yield holder, "".join(parts)


def _read_pdf(path: str, content: bytes) -> Document:
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it reports each flaw of a file it reads well enough
    reader = PdfReader(BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("encrypted")
    pages = [_pdf_page(page.extract_text()) for page in reader.pages]
    if not any(text.strip() for text in pages):
        raise Unreadable("no text in it, perhaps scanned pages")
    blocks: list[Block] = []
    for number, text in enumerate(pages, 1):
        for block in text_blocks(text.split("\n"), ".txt"):
            heading = block.heading or (blocks[-1].heading if blocks else "")
            blocks.append(Block(block.kind, number, (" ".join(block.lines),), heading))
    lines = tuple((number, line) for number, text in enumerate(pages, 1) for line in text.split("\n"))
    return Document(path, "page", len(pages), _pdf_title(reader) or _title(blocks), lines, tuple(blocks))


def _pdf_page(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")  # half characters come out of broken fonts
    return re.sub(r"(\w)-\n([a-zß-ÿ]\w*)[^\S\n]?", r"\1\2\n", text.strip("\n"))  # a word parted at the line's end


def _pdf_title(reader: "PdfReader") -> str:
    title = reader.metadata.title if reader.metadata else None
    return one_line(title).encode("utf-8", "replace").decode("utf-8") if title else ""


def _read_docx(path: str, content: bytes) -> Document:
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable("encrypted, or in the older .doc format")
    with zipfile.ZipFile(BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_UNPACKED:
            raise Unreadable("larger than 200 MB when unpacked")
    lines: list[tuple[int, str]] = []
    blocks: list[Block] = []
    heading = ""
    for number, (kind, text) in enumerate(_docx_paragraphs(content), 1):
        lines.append((number, text))
        clean = one_line(strip_markup(text))
        if not re.search(r"\w", clean):
            continue
        heading = clean if kind == "heading" else heading
        blocks.append(Block(kind, number, (clean,), heading))
    return Document(path, "paragraph", len(lines), _title(blocks), tuple(lines), tuple(blocks))


def _docx_paragraphs(content: bytes) -> Iterator[tuple[Kind, str]]:
    """Yield each paragraph, and each row of a table, as it stands in the body."""
    import docx
    from docx.oxml.ns import qn
    from docx.table import Table

    for item in docx.Document(BytesIO(content)).iter_inner_content():
        if isinstance(item, Table):
            for row in item._tbl.tr_lst:  # pyright: ignore[reportPrivateUsage]
                # Not row.cells: it repeats a merged cell as often as the file claims, which may be a billion times.
                cells = (one_line(_xml_text(cell, qn("w:p"), qn("w:t"))) for cell in row.tc_lst)
                yield "table", " | ".join(cells)
        else:
            style = item.style.name if item.style else None
            is_heading = (style or "").startswith(("Heading", "Title"))
            yield "heading" if is_heading else "prose", one_line(item.text)


def _xml_text(cell: Any, paragraph: str, text: str) -> str:
    return " ".join("".join(part.text or "" for part in piece.iter(text)) for piece in cell.iter(paragraph))
