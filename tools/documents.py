"""A folder of documents: listed, searched by words, and looked up by citation.

What is cited can be checked: `normalise(sentence) in cited_text(folder, citation)` holds for every hit of a search.
"""

import os
import re
import sqlite3
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

from tools.blocks import Block
from tools.formats import SUFFIXES, Document, Unreadable, read_file
from tools.markup import normalise

__all__ = ["SUFFIXES", "Document", "Hit", "Library", "cited_text", "normalise", "open_library"]

_MAX_FILE_BYTES = 20_000_000
_MAX_FOLDER_BYTES = 100_000_000
_MAX_FILES = 10_000
_MAX_LIBRARIES = 4
_MAX_TERMS = 48
_CANDIDATES = 200
_ROW_SENTENCES = 10
_SKIPPED_FOLDERS = ("node_modules", "__pycache__")
_WEIGHTS = {"prose": 1.0, "heading": 0.5, "table": 0.5, "code": 0.25}
_HEADING_ALONE = 0.25
_SEPARATOR, _OPEN, _CLOSE = "\x1e", "\x02", "\x03"

# Scripts without spaces between words; FTS5 would take a whole clause for one word.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TERM = re.compile(rf"[{_UNSPACED}]+|[^\W{_UNSPACED}]+")
_STOP_WORDS = frozenset(
    """a about above after again all also am an and any are as at be because been before being between both but by can
    could did do does doing down during each few find for from further get give had has have having he her here hers him
    his how i if in into is it its itself just know let list me more most my no nor not now of off on once only or other
    our out over own please same she should show so some such tell than that the their them then there these they this
    those through to too under until up us very was we were what when where which while who whom why will with would you
    your""".split()  # noqa: SIM905
)
_CITATION = re.compile(r"\[?(?P<path>[^\n]+?)(?::(?P<number>\d{1,9})| p\.(?P<page>\d{1,9}))(?: § [^\n]*)?\]?")


@dataclass(frozen=True)
class Hit:
    """One sentence that a search found."""

    citation: str
    """`notes/a.md:12`, or `paper.pdf p.3`; a sentence over several lines has the number of its first."""
    heading: str
    text: str


@dataclass(frozen=True)
class _Listing:
    """What lies in a folder, before any file is read. Equal listings mean an unchanged folder."""

    files: tuple[tuple[str, int, int, int], ...]
    """(path, size in bytes, mtime_ns, inode), sorted by path."""
    skipped: tuple[tuple[str, str], ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    heading: str
    sentences: tuple[tuple[str, str], ...]
    """(citation, text) of each."""
    weight: float


@dataclass(frozen=True)
class Library:
    """The documents of a folder as they were when it was opened; may be used by several threads."""

    documents: dict[str, Document]
    """By path, sorted."""
    skipped: tuple[tuple[str, str], ...]
    """(path, reason) of each file that is not read, sorted."""
    others: tuple[str, ...]
    """Paths of files of other kinds."""
    listing: _Listing = field(repr=False)
    _rows: tuple[_Row, ...] = field(repr=False)
    _index: sqlite3.Connection = field(repr=False)
    _lock: threading.Lock = field(repr=False, default_factory=threading.Lock)

    def document(self, path: str) -> Document:
        """Return the document at `path`, relative to the folder.

        Raises: ValueError, with text for the one who asked; it never looks outside of what was listed.
        """
        if path.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", path) or ".." in re.split(r"[/\\]", path):
            raise ValueError(f"{path!r} is refused: give a path inside the folder, as list_documents shows it")
        if path in self.documents:
            return self.documents[path]
        reasons = dict(self.skipped)
        if path in reasons:
            raise ValueError(f"{path!r} cannot be read: {reasons[path]}")
        if path in self.others:
            raise ValueError(f"{path!r} cannot be read: only {', '.join(SUFFIXES)} are")
        near = get_close_matches(path, self.documents, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "list_documents shows what there is"
        raise ValueError(f"there is no document {path!r}; {hint}")

    def search(self, query: str, limit: int) -> list[Hit]:
        """Return at most `limit` sentences about `query`, best first, no sentence twice."""
        expression = _expression(query)
        if not expression:
            return []
        with self._lock:
            found = self._index.execute(_SEARCH, (expression, _CANDIDATES)).fetchall()
        hits: dict[str, Hit] = {}
        for _, row, place in sorted(self._ranked(found)):
            citation, text = self._rows[row].sentences[place]
            hits.setdefault(normalise(text), Hit(citation, self._rows[row].heading, text))
            if len(hits) == limit:
                break
        return list(hits.values())

    def _ranked(self, found: Sequence[tuple[int, float, str]]) -> Iterator[tuple[float, int, int]]:
        """Yield (score, row, place in the row) of each sentence that matches; the lowest score is best."""
        for row, score, marked in found:
            matches = [len(set(_marked(part))) for part in marked.split(_SEPARATOR)]
            best = sorted((place for place, count in enumerate(matches) if count), key=lambda place: -matches[place])
            # A passage's second-best sentence counts half, so that a far better passage may give more than one. Where
            # the heading alone matches, the first sentence stands for the passage, behind those that match themselves.
            if not best:
                yield score * _HEADING_ALONE, row, 0
            for rank, place in enumerate(best):
                yield score * 0.5**rank, row, place


class _Shelf:
    """The libraries opened last, so that the calls of a run do not read a folder anew; at most four."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._libraries: OrderedDict[str, Library] = OrderedDict()

    def open(self, root: Path) -> Library:
        with self._lock:
            listing = _listing(root)
            known = self._libraries.pop(str(root), None)
            if known is None or known.listing != listing:
                known = _read_folder(root, listing, known)
            self._libraries[str(root)] = known
            while len(self._libraries) > _MAX_LIBRARIES:
                self._libraries.popitem(last=False)
            return known


# The one state of this room: tools are plain functions, and reading a folder takes seconds where a search takes
# milliseconds. It decides nothing: an entry counts only while the folder is as it was.
_SHELF = _Shelf()


def open_library(folder: Path) -> Library:
    """Return the documents of `folder`; read again only where files have changed.

    Hidden files and folders are left out, links are followed only to files inside. Raises: ValueError when there is no
    such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    return _SHELF.open(folder.resolve())


def cited_text(folder: Path, citation: str) -> str | None:
    """Return the normalised text that `citation` points to, None when it points to nothing.

    `citation` is `path:line` or `path p.N`, with or without brackets and ` § heading`. The text begins with the
    sentence that stands in that line and ends with its paragraph; for .pdf it is the page, for .docx the paragraph, for
    .html the elements that begin in the line. Raises: ValueError when there is no such folder.
    """
    parts = _CITATION.fullmatch(citation.strip())
    document = open_library(folder).documents.get(parts["path"]) if parts else None
    if parts is None or document is None or (document.unit == "page") != bool(parts["page"]):
        return None
    number = int(parts["page"] or parts["number"])
    cited = [
        normalise(text)
        for block in document.blocks
        if block.start <= number < block.start + len(block.lines)
        for _, last, text in block.sentences()
        if last >= number
    ]
    return " ".join(cited) or None


def _listing(root: Path) -> _Listing:
    files: list[tuple[str, int, int, int]] = []
    skipped: list[tuple[str, str]] = []
    others: list[str] = []
    for path, name in _walk(root, skipped):
        if not name.isprintable():
            skipped.append((ascii(name)[1:-1], "its name holds signs that cannot be shown"))
        elif not name.lower().endswith(SUFFIXES):
            others.append(name)
        elif isinstance(facts := _facts(root, path), str):
            skipped.append((name, facts))
        else:
            files.append((name, facts.st_size, facts.st_mtime_ns, facts.st_ino))
    return _bounded(sorted(files), sorted(skipped), tuple(sorted(others)))


def _walk(root: Path, skipped: list[tuple[str, str]]) -> Iterator[tuple[Path, str]]:
    """Yield (path, path relative to `root` with `/`) of each file that is not hidden."""

    def unreadable(error: OSError) -> None:
        place = Path(error.filename).relative_to(root).as_posix()
        skipped.append((f"{place}/", "the folder may not be read"))

    for folder, folders, names in os.walk(root, onerror=unreadable):
        here = Path(folder)
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS]
        linked = [name for name in folders if (here / name).is_symlink()]
        skipped.extend((f"{(here / name).relative_to(root).as_posix()}/", "a linked folder") for name in linked)
        for name in names:
            if not name.startswith("."):
                yield here / name, (here / name).relative_to(root).as_posix()


def _facts(root: Path, path: Path) -> os.stat_result | str:
    """Return the file's facts, or why it is not read."""
    try:
        if path.is_symlink() and not path.resolve(strict=True).is_relative_to(root):
            return "a link out of the folder"
        facts = path.stat()
    except (OSError, RuntimeError):  # RuntimeError: a link to itself
        return "a link to nothing, or not readable"
    if not stat.S_ISREG(facts.st_mode):
        return "not a file"
    return "larger than 20 MB" if facts.st_size > _MAX_FILE_BYTES else facts


def _bounded(
    files: list[tuple[str, int, int, int]], skipped: list[tuple[str, str]], others: tuple[str, ...]
) -> _Listing:
    size = 0
    for at, file in enumerate(files):
        size += file[1]
        if at >= _MAX_FILES or size > _MAX_FOLDER_BYTES:
            rest = f"{file[0]} and {len(files) - at - 1} more after it"
            skipped.append((rest, "the folder holds more than 10,000 documents or 100 MB"))
            files = files[:at]
            break
    return _Listing(tuple(files), tuple(skipped), others)


def _read_folder(root: Path, listing: _Listing, before: Library | None) -> Library:
    """Read and index the files of `listing`; those unchanged since `before` are taken from it."""
    known = {file: before.documents.get(file[0]) for file in before.listing.files} if before else {}
    documents: dict[str, Document] = {}
    skipped = list(listing.skipped)
    for file in listing.files:
        path = file[0]
        if unchanged := known.get(file):
            documents[path] = unchanged
            continue
        try:
            documents[path] = read_file(path, (root / path).read_bytes())
        except (Unreadable, OSError) as error:
            skipped.append((path, str(error) if isinstance(error, Unreadable) else "not readable"))
    rows = tuple(row for document in documents.values() for row in _document_rows(document))
    return Library(documents, tuple(sorted(skipped)), listing.others, listing, rows, _index(rows))


def _document_rows(document: Document) -> Iterator[_Row]:
    for at, block in enumerate(document.blocks):
        following = document.blocks[at + 1] if at + 1 < len(document.blocks) else None
        if block.kind != "heading" or following is None or following.kind == "heading":
            yield from _block_rows(document, block)


def _block_rows(document: Document, block: Block) -> Iterator[_Row]:
    sentences = [(document.citation(number), text) for number, _, text in block.sentences()]
    for at in range(0, len(sentences), _ROW_SENTENCES):
        part = tuple(sentences[at : at + _ROW_SENTENCES])
        yield _Row(block.heading, part, _WEIGHTS[block.kind])


_SEARCH = f"""
    SELECT rowid, bm25(passages, 1.0, 2.0, 0.0) * weight AS score, highlight(passages, 0, '{_OPEN}', '{_CLOSE}')
    FROM passages WHERE passages MATCH ? ORDER BY score, rowid LIMIT ?
"""


def _index(rows: Sequence[_Row]) -> sqlite3.Connection:
    index = sqlite3.connect(":memory:", check_same_thread=False)
    index.execute(
        "CREATE VIRTUAL TABLE passages USING"
        " fts5(text, heading, weight UNINDEXED, tokenize = 'porter unicode61 remove_diacritics 2')"
    )
    index.executemany(
        "INSERT INTO passages(rowid, text, heading, weight) VALUES (?, ?, ?, ?)",
        (
            (at, _spaced(_SEPARATOR.join(text for _, text in row.sentences)), _spaced(row.heading), row.weight)
            for at, row in enumerate(rows)
        ),
    )
    index.commit()
    return index


def _expression(query: str) -> str:
    """Return the FTS5 expression for any of the query's words; empty when it has none."""
    words = [word.lower() for word in _TERM.findall(query)]
    words = [word for word in words if word not in _STOP_WORDS] or words
    terms = dict.fromkeys(term for word in words for term in _terms(word))
    return " OR ".join(f'"{term}"' for term in list(terms)[:_MAX_TERMS])


def _terms(word: str) -> list[str]:
    if not re.match(rf"[{_UNSPACED}]", word) or len(word) == 1:
        return [word]
    return [f"{first} {second}" for first, second in pairwise(word)]


def _spaced(text: str) -> str:
    return re.sub(rf"([{_UNSPACED}])", r" \1 ", text)


def _marked(text: str) -> list[str]:
    return re.findall(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}", text.lower())
