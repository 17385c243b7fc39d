"""Who stands behind each line of a text that a run wrote: agent, task, tool calls, source, reviews. Asks no model."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from crews.planned import Plan
from runs.told.blame_matching import Likeness, Shelf, likeness, stands, words_of
from runs.told.blame_sources import CITED, Line, Source, read_line, source_in
from runs.told.blame_works import Results, Work, chain_to, read_results, review_by, works_of
from runs.told.report import Step
from tasks.citations import strip_citations
from tasks.wording import make_stemmer

__all__ = ["Shelf", "blame", "changed_lines", "likeness", "read_results", "split_rows", "words_of"]

_MOST_STEPS, _MOST_HELD = 3, 12
_ROW_END = re.compile(r"\r\n|\r|\n")


def blame(
    plan: Plan, steps: Sequence[Step], results: Results, task: str, text: str, first: int = 1, last: int | None = None
) -> list[dict[str, Any]]:
    """Return, for each line of `text` that is not blank, who and what stands behind it; `task` is whose output it was.

    Lines `first` to `last` only; numbers count from 1. A line that the run did not write is `changed`. Field names are
    API. Raises: KeyError when `task` has no output.
    """
    works = works_of(plan, steps, results)
    rows = split_rows(text)
    changed = changed_lines(rows, works[task].text)
    span = range(first, min(last or len(rows), len(rows)) + 1)
    lines = [read_line(number, rows[number - 1]) for number in span if rows[number - 1].strip()]
    trail = _Trail(plan, works, steps, task)
    told = {entry["line"]: entry for entry in trail.explain([line for line in lines if line.number not in changed])}
    return [told.get(line.number) or _entry(line, changed=True) for line in lines]


def split_rows(text: str) -> list[str]:
    """Return the rows of a text as editors number them."""
    return _ROW_END.split(text)


def changed_lines(rows: Sequence[str], written: str) -> set[int]:
    """Return the numbers of the lines, from 1, that are not among those written; one that was only moved is."""
    left = Counter(row.rstrip() for row in split_rows(written))
    changed: set[int] = set()
    for number, row in enumerate(rows, 1):
        if row.strip() and left[row.rstrip()] <= 0:
            changed.add(number)
        left[row.rstrip()] -= 1
    return changed


def _entry(line: Line, work: Work | None = None, **more: Any) -> dict[str, Any]:
    who = {name: getattr(work, name, None) for name in ("task", "agent", "model")}
    usual: dict[str, Any] = {"origin": None, "match": None, "steps": [], "reviewed_by": [], "changed": False}
    usual |= {"reworded_from": None, "unsupported": []}
    return {"line": line.number, "text": line.text} | who | usual | more


class _Trail:
    """All that was made, found, given and said on the way to one text; its lines are looked up in it all at once."""

    def __init__(self, plan: Plan, works: Mapping[str, Work], steps: Sequence[Step], key: str) -> None:
        self._works, self._chain, self._stem = works, chain_to(works, key), make_stemmer()
        self._likeness = Likeness(self._stem)
        inputs = plan.inputs.items()
        self._sources = [Source("input", None, None, None, str(value), f"input {name}") for name, value in inputs]
        self._open_to = {one: set(range(len(self._sources))) for one in self._chain}
        known = {one: {works[other].task for other in chain_to(works, one)} for one in self._chain}
        found = [(step, source) for step in steps if (source := source_in(step)) is not None]
        for step, source in sorted(found, key=lambda pair: pair[1].origin == "person"):
            for one in self._chain:  # who made it could know the source
                if step.task in known[one]:
                    self._open_to[one].add(len(self._sources))
            self._sources.append(source)

    def explain(self, lines: Sequence[Line]) -> Iterator[dict[str, Any]]:
        keys, works = self._chain, self._works
        outputs = Shelf([strip_citations(works[key].text) for key in keys], self._stem)
        carried = outputs.hold({line.needle: range(len(keys)) for line in lines if line.needle}, len(keys))
        carriers = {line.number: [keys[at] for at in carried.get(line.needle, [len(keys) - 1])] for line in lines}
        before = {key: [keys.index(one) for one in chain_to(works, key)[:-1]] for key in keys}
        earlier = outputs.reword({line.needle: before[carriers[line.number][0]] for line in lines})
        self._look_up(lines, carriers)
        for line in lines:
            key = carriers[line.number][0]
            model = works[keys[earlier[line.needle]]] if line.needle in earlier else None
            found = self._behind(line, self._open_to[key])
            if works[key].by_person or (model is not None and model.by_person):
                found = {"origin": "person", "match": "word for word" if works[key].by_person else "reworded"}
            reviews = self._reviewers(carriers[line.number])
            yield _entry(line, works[key], **found, reviewed_by=reviews, reworded_from=model.task if model else None)

    def _reviewers(self, carriers: Sequence[str]) -> list[dict[str, Any]]:
        """Return who checked the works that hold a line, and who only read one, for the work at the end."""
        works = self._works
        beside = [works[key] for key in works[self._chain[-1]].reads if key in works and key not in carriers]
        readers = [work for work in beside if not set(carriers).isdisjoint(work.reads)]
        told = [review_by(work.task, work.agent, "read", "read it", None) for work in readers]
        return [*(review for key in carriers for review in works[key].reviews), *told]

    def _look_up(self, lines: Sequence[Line], carriers: Mapping[int, Sequence[str]]) -> None:
        given = [json.dumps(source.arguments or "", ensure_ascii=False) for source in self._sources]
        shelf = Shelf([source.text for source in self._sources], self._stem, given)
        wanted: dict[bytes, set[int]] = {}
        for line in lines:
            for needle in (*line.sentences, *line.quotes):
                wanted[needle] = wanted.get(needle, set[int]()) | self._open_to[carriers[line.number][0]]
        self._held = shelf.hold(wanted, _MOST_HELD)
        self._near = shelf.reword({needle: wanted[needle] for needle in wanted.keys() - self._held.keys()})
        self._naming: dict[str, list[int]] = {}
        for number, source in enumerate(self._sources):
            for path in {*source.given, *(path for path, _ in source.cited)} if source.origin == "tool" else ():
                self._naming.setdefault(path, []).append(number)

    def _behind(self, line: Line, allowed: Collection[int]) -> dict[str, Any]:
        """Return origin, match and steps of a line whose maker could know the sources `allowed`."""
        if (cited := self._cited(line, allowed)) is not None:
            return cited
        parts = {part: self._found(needle, part, allowed) for needle, part in line.sentences.items()}
        found = [one for one in parts.values() if one is not None]
        if not found:
            quoted = [self._found(needle, part, allowed) for needle, part in line.quotes.items()]
            found = [(origin, False, steps) for origin, _, steps in filter(None, quoted)]
        if not found:
            return {"origin": "model"}
        best = min((origin for origin, _, _ in found), key=("tool", "person", "input").index)
        mine = [one for one in found if one[0] == best]
        bare = [part.replace("\x00", "") for part, one in parts.items() if one is None]
        return {
            "origin": best,
            "match": "word for word" if not bare and all(exact for _, exact, _ in mine) else "reworded",
            "steps": _each_once(step for _, _, steps in mine for step in steps),
            "unsupported": bare if len(bare) < len(parts) else [],
        }

    def _cited(self, line: Line, allowed: Collection[int]) -> dict[str, Any] | None:
        """Return the calls that returned the places which a line cites, those that say what it says first."""
        steps: list[dict[str, Any]] = []
        best = 0
        for place in line.places:
            path = parts[1] if "://" not in place and (parts := CITED.fullmatch(place)) else place
            numbers = [number for number in self._naming.get(path, []) if number in allowed]
            texts = {number: text for number in numbers if (text := self._sources[number].at(place)) is not None}
            agrees = {number: self._agrees(line, text) for number, text in islice(texts.items(), _MOST_HELD)}
            best = max(best, *agrees.values(), 0)
            order = sorted((-agrees[number], number) for number in agrees)
            steps += [self._sources[number].told(place) for _, number in order[:_MOST_STEPS]]
        match = ("cited", "reworded", "word for word")[best]
        return {"origin": "tool", "match": match, "steps": _each_once(steps)} if steps else None

    def _agrees(self, line: Line, text: str) -> int:
        """Say how far a text says what a line says: 2 word for word, 1 in other words, 0 not."""
        there = words_of(text)
        tight = there.translate(None, b" \n")
        open_needles = [needle for needle in line.sentences if not stands(needle.replace(b" ", b""), tight)]
        if not open_needles:
            return 2
        return int(all(self._likeness.of(needle, there) for needle in open_needles))

    def _found(
        self, needle: bytes, part: str, allowed: Collection[int]
    ) -> tuple[str, bool, list[dict[str, Any]]] | None:
        """Return origin, whether word for word, and steps of a sentence; None where nothing says it."""
        held = [number for number in self._held.get(needle, ()) if number in allowed]
        near = self._near.get(needle)
        sources = [self._sources[number] for number in held or ([near] if near is not None and near in allowed else [])]
        if not sources:
            return None
        same = [source for source in sources if source.origin == sources[0].origin][:_MOST_STEPS]
        return sources[0].origin, bool(held), [source.told(source.place_of(part) if held else "") for source in same]


def _each_once(steps: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {(step["step"], step["place"]): step for step in steps}
    return list(known.values())[: 2 * _MOST_STEPS]
