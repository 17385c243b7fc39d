"""Who stands behind each line of a text that a run wrote: agent, task, tool calls, source, reviews. Asks no model."""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, Literal, cast

from crews.planned import CrewPlan, Plan
from runs.journal import unpack
from runs.report import JournalSource, Step
from tasks.citations import find_citations, strip_citations
from tasks.wording import content_stems, make_stemmer, missing_numbers, negated, split_sentences

Results = Mapping[str, Mapping[str, Any]]
"""What each workflow of a run came to, by its path; "" is the run."""

Stem = Callable[[str], str]

_STOP = frozenset(b"a an and are as at be by for from has have in is it of on or that the this to was with".split())
_REVIEWING = ("review", "refine", "judge", "aggregate", "done")
_MOST_STEPS, _MOST_HELD, _MOST_LINES, _MOST_WEIGHED = 3, 12, 80_000, 50
_SHARED, _SHARED_WITH_NUMBERS, _WORTH_A_LOOK = 0.6, 0.4, 0.3
_FEWEST_WORDS, _STEP, _LINES_OF_A_PLACE = 4, 8, 6
_LONG_NUMBER = re.compile(r"\b\d{2,}\b")
_ROW_END = re.compile(r"\r\n|\r|\n")
_RIVAL = re.compile(r"[ac]\d+(?:r\d+)?")
_MARKUP = re.compile(r"^[\s>#*+\-•|\d.)_`]+|[*_`\[|].*")
_FIELD = re.compile(r'\s*(?:"[^"]{1,200}":\s*)?("(?:[^"\\]|\\.)*")\s*,?\s*')
_PLACE = re.compile(r"\[([^\[\]\n]{1,300}?)(?::(\d+)(?:[-–](\d+))?|,? pp?\. ?(\d+)(?:[-–](\d+))?)(?=[\];, ])")
_CITED = re.compile(r"(.+?)(?::| p\.)(\d+)(?:-(\d+))?")
_NUMBERED = re.compile(r"^ {0,6}(\d+)(?:  |\t|: |\| ?|→)", re.MULTILINE)
_URL = re.compile(r"https?://[^\s<>\"'`|\\^{}\[\]()]{2,2000}")
_FILE = re.compile(r"[\w./-]{1,120}\.[A-Za-z]\w{1,4}\b")
_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»]{12,1000})[\"”“»]")


_MARKS = bytes(sign for sign in range(128) if not chr(sign).isalnum() and chr(sign) not in ".\n")
_TO_SPACES = bytes.maketrans(_MARKS + b"]", b" " * len(_MARKS) + b"\n")
_WIDE_MARKS = [sign.encode() for sign in "“”„«»‘’‚–—‑−…·•→\u00a0"]
_UNSEEN = [sign.encode() for sign in "\u00ad\u200b\u200c\u200d\u2060\ufeff"]
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def words_of(text: str) -> bytes:
    """Return a text as the lower-case words by which texts are compared, in UTF-8; each sentence is a line."""
    if text[:1] in ("{", "["):
        text = text.replace('"', "\n")
    if "\\" in text:
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text.replace("\\n", "\n"))
    if _NUMBERED.match(text):
        text = _NUMBERED.sub("", text)
    plain = text.lower().encode("utf-8", "replace")
    if not plain.isascii():
        plain = plain.replace("§".encode(), b"\n")
        for marks, kept in ((_WIDE_MARKS, b" "), (_UNSEEN, b"")):
            for mark in marks:
                plain = plain.replace(mark, kept)
    plain = plain.translate(_TO_SPACES).replace(b"..", b" ")
    return plain.replace(b". ", b"\n").replace(b".\n", b"\n").removesuffix(b".")


def _needle(text: str) -> bytes:
    return b" ".join(words_of(text).split())


class Shelf:
    """Texts in which sentences are looked up, in order; `given` are the arguments that each was asked for with.

    What a tool was given does not count as found by it: it only said it back.
    """

    def __init__(self, texts: Sequence[str], stem: Stem, given: Sequence[str] = ()) -> None:
        known = {text: words_of(text) for text in dict.fromkeys(texts)}
        self._plain, self._stem = [known[text] for text in texts], stem
        self._given = [words_of(text) for text in given] or [b""] * len(texts)

    def hold(self, wanted: Mapping[bytes, Collection[int]], most: int) -> dict[bytes, list[int]]:
        """Find, for each needle, the first of the texts allowed to it that hold it word for word, at most `most`.

        A needle of less than four words must be a line or a sentence of its own: else it stands everywhere.
        """
        found: dict[bytes, list[int]] = {}
        tight = {needle: needle.replace(b" ", b"") for needle in wanted}
        long = {
            needle for needle in wanted if needle.count(b" ") >= _FEWEST_WORDS - 1 and len(tight[needle]) > 2 * _STEP
        }
        short = {tight[needle]: needle for needle in wanted.keys() - long}
        by_start = _by_start({needle: tight[needle] for needle in long})
        single = any(len(start) == 1 for start in by_start)
        for number, plain in enumerate(self._plain if wanted else ()):
            whole = plain.translate(None, b" \n")
            steps = memoryview(whole)[: len(whole) // _STEP * _STEP].cast("Q").tolist()
            pairs = chain(pairwise(steps), zip(steps, strict=True) if single else ())
            likely = {needle for start in by_start.keys() & pairs for needle in by_start[start]}
            near = [needle for needle in likely if len(found.get(needle, ())) < most]
            here = [needle for needle in near if _stands(tight[needle], whole)]
            if short:
                here += [short[line] for line in short.keys() & plain.translate(None, b" ").split(b"\n")]
            for needle in here:
                if number in wanted[needle] and tight[needle] not in self._given[number].translate(None, b" \n"):
                    found.setdefault(needle, []).append(number)
        return {needle: numbers[:most] for needle, numbers in found.items()}

    def reword(self, wanted: Mapping[bytes, Collection[int]]) -> dict[bytes, int]:
        """Find, for each needle, the text that says it in other words: see `likeness`."""
        terms = {needle: frozenset(needle.split()) - _STOP for needle, allowed in wanted.items() if allowed}
        terms = {needle: words for needle, words in terms.items() if len(words) >= _FEWEST_WORDS}
        found: dict[bytes, int] = {}
        rows: dict[int, list[bytes]] = {}
        for needle, places in (self._near(terms, wanted) if terms else {}).items():
            for _, number, at in places:
                lines = rows.get(number) or rows.setdefault(number, self._plain[number].split(b"\n"))
                near = (lines[at : at + 1], lines[at : at + 2], lines[max(0, at - 1) : at + 1])
                said = any(likeness(needle, b" ".join(passage), self._stem) for passage in near)
                if needle not in found and said and not likeness(needle, self._given[number], self._stem):
                    found[needle] = number
        return found

    def _near(
        self, terms: Mapping[bytes, frozenset[bytes]], wanted: Mapping[bytes, Collection[int]]
    ) -> dict[bytes, list[tuple[float, int, int]]]:
        """Return the two places, (share of words, text, line), that share most words with each needle.

        Looked for by the rarest words of each: a word that stands in very many lines leads to none of them.
        """
        holding: dict[bytes, list[tuple[int, int, bytes]]] = {word: [] for words in terms.values() for word in words}
        open_words = set(holding)
        most = max(50, _MOST_LINES // len(holding))
        for number, plain in enumerate(self._plain):
            for at, line in enumerate(plain.split(b"\n") if open_words else ()):
                for word in open_words.intersection(line.split()):
                    holding[word].append((number, at, line))
                    if len(holding[word]) == most:
                        open_words.remove(word)
        places: dict[bytes, list[tuple[float, int, int]]] = {}
        for needle, words in terms.items():
            rare = sorted((word for word in words if holding[word]), key=lambda word: (len(holding[word]), word))
            lines = (one for word in rare[:5] for one in holding[word] if one[0] in wanted[needle])
            allowed = set(islice(lines, _MOST_WEIGHED))
            near = [(-len(words.intersection(line.split())) / len(words), number, at) for number, at, line in allowed]
            places[needle] = sorted(place for place in near if -place[0] >= _WORTH_A_LOOK)[:2]
        return places


def _by_start(needles: Mapping[bytes, bytes]) -> dict[tuple[int, ...], list[bytes]]:
    """Return needles by sixteen of their bytes at each of eight offsets: one falls on a step of eight in any text."""
    found: dict[tuple[int, ...], list[bytes]] = {}
    for needle, tight in needles.items():
        for offset in range(_STEP):
            end = offset + min(2, (len(tight) - offset) // _STEP) * _STEP
            found.setdefault(tuple(memoryview(tight)[offset:end].cast("Q")), []).append(needle)
    return found


def _stands(tight: bytes, whole: bytes) -> bool:
    """Say whether the letters stand in a text, and not as a part of a longer number."""
    at = whole.find(tight)
    while at >= 0:
        before, after = whole[at - 1 : at] + tight[:1], tight[-1:] + whole[at + len(tight) : at + len(tight) + 1]
        if not (len(before) > 1 and before.isdigit()) and not (len(after) > 1 and after.isdigit()):
            return True
        at = whole.find(tight, at + 1)
    return False


def likeness(needle: bytes, passage: bytes, stem: Stem) -> float:
    """Return the share of the content words, or of their stems, that a passage has in common with a needle.

    0 below 60 % (40 % where numbers agree), where a number is missing, or where one denies what the other says.
    """
    said, there = (" ".join(text.decode("utf-8", "replace").split()) for text in (needle, passage))
    least = _SHARED_WITH_NUMBERS if _LONG_NUMBER.search(said) else _SHARED
    share = 0.0
    for form in (str, stem):  # stems are slow, and mostly not needed
        words = content_stems(said, form)
        share = len(words & content_stems(there, form)) / max(1, len(words))
        if len(words) < 3 or share < least - 0.3:
            return 0.0
        if share >= least:
            break
    signs = {negated(f" {words} ".replace(" t ", " not ")) for words in (said, there)}
    return 0.0 if share < least or len(signs) > 1 or missing_numbers(said, there) else share


@dataclass(frozen=True)
class Work:
    """A text that somebody made in a run: the output of a task or of a part of it, a colleague's answer, the result."""

    task: str
    agent: str
    model: str
    text: str
    by_person: bool
    reads: tuple[str, ...]
    """Keys of the works that it was made from."""
    reviews: tuple[dict[str, Any], ...] = ()
    """Who checked, reviewed, chose or approved it."""


def read_results(source: JournalSource, run_id: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the workflows of a run that are done came to, by path; the run's own is ""."""
    results = {
        record.id[len(run_id) + 1 :]: unpack(cast(dict[str, Any], record.output), folder)
        for record in source.family(run_id)
        if record.status == "SUCCESS"
    }
    for path, result in list(results.items()):
        for name, part in cast(dict[str, Any], result.get("tasks", {})).items():
            below = f"{path}.{name}".lstrip(".")
            if below not in results or "output" not in results[below]:  # a person did what nobody could
                results[below] = part
    return results


def works_of(plan: Plan, steps: Sequence[Step], results: Results) -> dict[str, Work]:
    """Return every text made in a run, by path; those of colleagues asked and of agents that handed over by lane."""
    by_task: dict[str, list[Step]] = {}
    for step in steps:
        by_task.setdefault(step.task, []).append(step)
    crews, needs = _shape(plan, results, by_task)
    works: dict[str, Work] = {}
    for path, result in results.items():
        if not result.get("output"):
            continue
        own = by_task.get(path, [])
        around = tuple(need for need in needs[path] if need in results)
        asides = {lane: Work(path, *who, False, around) for lane, who in _asides(plan, own)}
        crew = crews.get(path)
        manager = crew.manager_member if crew is not None and crew.process == "hierarchical" else None
        agent = manager.name if manager else str(result.get("agent") or (crew.crew if crew else ""))
        model = plan.models[manager.model].model if manager else str(result.get("model", ""))
        reads = (*around, *_inside(path, result, results), *asides)
        person = bool(result.get("by_person")) or agent == "human"
        works |= asides
        works[path] = Work(path, agent, model, str(result["output"]), person, reads, _reviews(path, result, own))
    return works


def _shape(
    plan: Plan, results: Results, by_task: Mapping[str, Sequence[Step]]
) -> tuple[dict[str, CrewPlan], dict[str, list[str]]]:
    """Return which crew works below each path, and what was there before what is made at it."""
    crews: dict[str, CrewPlan] = {"": plan}
    needs: dict[str, list[str]] = {"": []}
    parts = [path.split(".") for path in results if path]
    for path in sorted({".".join(names[:depth]) for names in parts for depth in range(1, len(names) + 1)}):
        above, _, name = path.rpartition(".")
        crew = crews.get(above)
        agent, own = str(results.get(path, {}).get("agent", "")), list[str]()
        if crew is not None and crew.stages:
            stages = [stage.crew for stage in crew.stages]
            agent, own = name, stages[: stages.index(name)]
        elif crew is not None:
            plans = [step.record["plan"] for step in by_task.get(above, ()) if step.record.get("plan")]
            waits = {task.name: (task.agent_name, task.waits_for) for task in crew.tasks}
            waits |= {one["id"]: (one["agent"], one["depends_on"]) for made in plans for one in made["subtasks"]}
            agent, own = agent or waits.get(name, ("", []))[0], waits.get(name, ("", []))[1]
        needs[path] = [*needs[above], *(f"{above}.{need}".lstrip(".") for need in own)]
        if agent in plan.crews:
            crews[path] = plan.crews[agent]
    return crews, needs


def _inside(path: str, result: Mapping[str, Any], results: Results) -> list[str]:
    """Name the parts of which a text was made: entries, tasks of the crew that did it, the candidate taken."""
    below = {other: part for other, part in results.items() if other and other.rpartition(".")[0] == path}
    rivals = {other for other, part in below.items() if part.get("piece") and _RIVAL.fullmatch(other[len(path) + 1 :])}
    return [other for other, part in below.items() if other not in rivals or part.get("output") == result["output"]]


def _asides(plan: Plan, steps: Sequence[Step]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield (lane, (agent, model, text)) of what colleagues answered, and what was handed over, in a task."""
    for step in steps:
        lane, record = step.name.rpartition("/")[0], step.record
        if step.kind == "model" and ">" in lane and record.get("answer", {}).get("text"):
            yield lane, (record["agent"], record["model"], record["answer"]["text"])
        elif packet := record.get("packet"):
            member = plan.members.get(packet["from"])
            model = plan.models[member.model].model if member is not None and member.model in plan.models else ""
            yield step.name, (packet["from"], model, packet["done"])


def _chain(works: Mapping[str, Work], key: str) -> list[str]:
    """Return the works that one was made from, the earliest first, itself last."""
    order: dict[str, None] = {}
    seen: set[str] = set()

    def visit(one: str) -> None:
        if one in works and one not in seen:
            seen.add(one)
            for other in works[one].reads:
                visit(other)
            order[one] = None

    visit(key)
    return list(order)


def _reviews(path: str, result: Mapping[str, Any], steps: Sequence[Step]) -> tuple[dict[str, Any], ...]:
    found: list[dict[str, Any]] = []
    verdict = next((step for step in reversed(steps) if step.kind == "verdict"), None)
    by_rule = {check["check"] for check in verdict.record["checks"]} if verdict is not None else set[str]()
    for check in result.get("checks", []):
        outcome = "not judged" if check.get("not_judged") else "passed" if check["passed"] else "not passed"
        by = "rule" if check["check"] in by_rule else "model"
        step = verdict.name if verdict is not None and by == "rule" else None
        found.append(_review(path, by, "check", outcome, step, check=check["check"], gate=check.get("gate", "revise")))
    latest = {str(step.record["decision"]): step for step in steps if step.kind == "decision"}
    found += [_decided(path, latest[name]) for name in _REVIEWING if name in latest]
    for step in steps:
        if step.kind == "answer" and "/judge" in step.name and step.record["said"] is not None:
            said = str(step.record["said"])
            found.append(_review(path, "person", "answer", f"asked for: {said}" if said else "approved", step.name))
    return tuple(found)


def _review(path: str, by: str, what: str, outcome: str, step: str | None, **more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"check": None, "gate": None, "score": None}
    return {"by": by, "task": path, "what": what, "outcome": outcome, "step": step} | usual | more


def _decided(path: str, step: Step) -> dict[str, Any]:
    record = step.record
    name, outcome = str(record["decision"]), str(record["chosen"])
    if name in ("review", "refine"):
        outcome = ("approved" if record["approved"] else "not approved") if record["judged"] else "not judged"
    elif name == "judge":
        outcome = f"chose {outcome} of {', '.join(record['among'])}"
    return _review(path, record["by"], name, outcome, step.name, score=record.get("score"))


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    needle: bytes
    sentences: Mapping[bytes, str]
    """What is looked up, and how it is written."""
    quotes: Mapping[bytes, str]
    places: tuple[str, ...]
    """Places that it cites, and addresses and files that it names."""


def _read_line(number: int, row: str) -> _Line:
    said = row
    if (found := _FIELD.fullmatch(row)) is not None:  # of a contract's output
        said = str(json.loads(found[1]))
        said = f"[{said}]" if find_citations(f"[{said}]") else said
    bare = strip_citations(said, "\x00")
    parts = {needle: part for part in split_sentences(bare) if (needle := _needle(part))}
    long = {needle: part for needle, part in parts.items() if needle.count(b" ") >= _FEWEST_WORDS - 1}
    urls = [url.rstrip(".,;:") for url in _URL.findall(bare)]
    quotes = {_needle(part): part for part in (*_QUOTED.findall(bare), *urls)}
    quotes = {needle: part for needle, part in quotes.items() if needle.count(b" ") >= _FEWEST_WORDS - 1}
    places = (*find_citations(said), *urls) or tuple(_FILE.findall(bare))
    long = long or ({_needle(bare): bare} if parts else {})
    return _Line(number, row, _needle(strip_citations(row)), long, quotes, places)


@dataclass
class _Source:
    """Something a line may come from: an input, a tool call with its result, what a person said."""

    origin: Literal["input", "tool", "person"]
    step: str | None
    tool: str | None
    arguments: dict[str, Any] | None
    text: str
    place: str = ""

    def told(self, place: str) -> dict[str, Any]:
        return {"step": self.step, "tool": self.tool, "arguments": self.arguments, "place": self.place or place}

    @cached_property
    def given(self) -> set[str]:
        """The values of a call's arguments, and the ends of those that are paths."""
        values = [str(value) for value in (self.arguments or {}).values()]
        short = [value for value in values if len(value) <= 2000]
        return {value[at:] for value in short for at in (0, *(m.end() for m in re.finditer("/", value)))}

    @cached_property
    def cited(self) -> dict[tuple[str, int], int]:
        """Where in the result what stands behind each `[path:12]` of it begins."""
        found: dict[tuple[str, int], int] = {}
        for match in _PLACE.finditer(self.text):
            first = int(match[2] or match[4])
            for number in range(first, min(int(match[3] or match[5] or first), first + 200) + 1):
                found.setdefault((match[1], number), match.end())
        return found

    @cached_property
    def numbers(self) -> dict[int, int]:
        """Where each numbered line of the result begins; each line, where they are not numbered."""
        numbered = {int(match[1]): match.end() for match in reversed(list(_NUMBERED.finditer(self.text)))}
        if numbered and _NUMBERED.match(self.text):
            return numbered
        return {number: match.end() for number, match in enumerate(re.finditer(r"^|\n", self.text), 1)}

    def at(self, place: str) -> str | None:
        """Return what the result says at a place; None where it has no such place."""
        parts = None if "://" in place else _CITED.fullmatch(place)
        if parts is None:
            return self.text if place in self.given else None
        path, first, last = parts[1], int(parts[2]), int(parts[3] or parts[2])
        here = [self.cited[path, number] for number in range(first, last + 1) if (path, number) in self.cited]
        if here:
            return self.text[here[0] : here[-1] + 1000].split("\n[")[0]
        if path not in self.given or first not in self.numbers:
            return None
        after = 1 if f"{path} p." in place else _LINES_OF_A_PLACE
        return self.text[self.numbers[first] : self.numbers.get(last + after)]

    def place_of(self, sentence: str) -> str:
        """Return where in the result a sentence stands, as it can be cited; else the file or address; "" if unknown."""
        start = self.text.find(_MARKUP.sub("", sentence).replace("\x00", "").strip()[:80])
        begin = self.text.rfind("\n", 0, start) + 1
        path = next((value for value in self.given if _FILE.fullmatch(value) or _URL.fullmatch(value)), "")
        if start >= 0:
            head = self.text[begin:start]
            if places := find_citations(head) or find_citations(f"{head}]"):
                return places[-1]
            if path and (numbered := _NUMBERED.match(self.text, begin)) is not None:
                return f"{path}:{numbered[1]}"
        return path


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
    lines = [_read_line(number, rows[number - 1]) for number in span if rows[number - 1].strip()]
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


def _entry(line: _Line, work: Work | None = None, **more: Any) -> dict[str, Any]:
    who = {name: getattr(work, name, None) for name in ("task", "agent", "model")}
    usual: dict[str, Any] = {"origin": None, "match": None, "steps": [], "reviewed_by": [], "changed": False}
    usual |= {"reworded_from": None, "unsupported": []}
    return {"line": line.number, "text": line.text} | who | usual | more


class _Trail:
    """All that was made, found, given and said on the way to one text; its lines are looked up in it all at once."""

    def __init__(self, plan: Plan, works: Mapping[str, Work], steps: Sequence[Step], key: str) -> None:
        self._works, self._chain, self._stem = works, _chain(works, key), make_stemmer()
        inputs = plan.inputs.items()
        self._sources = [_Source("input", None, None, None, str(value), f"input {name}") for name, value in inputs]
        self._open_to = {one: set(range(len(self._sources))) for one in self._chain}
        known = {one: {works[other].task for other in _chain(works, one)} for one in self._chain}
        found = [(step, source) for step in steps if (source := _source_in(step)) is not None]
        for step, source in sorted(found, key=lambda pair: pair[1].origin == "person"):
            for one in self._chain:  # who made it could know the source
                if step.task in known[one]:
                    self._open_to[one].add(len(self._sources))
            self._sources.append(source)

    def explain(self, lines: Sequence[_Line]) -> Iterator[dict[str, Any]]:
        keys, works = self._chain, self._works
        outputs = Shelf([strip_citations(works[key].text) for key in keys], self._stem)
        carried = outputs.hold({line.needle: range(len(keys)) for line in lines if line.needle}, len(keys))
        carriers = {line.number: [keys[at] for at in carried.get(line.needle, [len(keys) - 1])] for line in lines}
        before = {key: [keys.index(one) for one in _chain(works, key)[:-1]] for key in keys}
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
        told = [_review(work.task, work.agent, "read", "read it", None) for work in readers]
        return [*(review for key in carriers for review in works[key].reviews), *told]

    def _look_up(self, lines: Sequence[_Line], carriers: Mapping[int, Sequence[str]]) -> None:
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

    def _behind(self, line: _Line, allowed: Collection[int]) -> dict[str, Any]:
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

    def _cited(self, line: _Line, allowed: Collection[int]) -> dict[str, Any] | None:
        """Return the calls that returned the places which a line cites, those that say what it says first."""
        steps: list[dict[str, Any]] = []
        best = 0
        for place in line.places:
            path = parts[1] if "://" not in place and (parts := _CITED.fullmatch(place)) else place
            numbers = [number for number in self._naming.get(path, []) if number in allowed]
            texts = {number: text for number in numbers if (text := self._sources[number].at(place)) is not None}
            agrees = {number: self._agrees(line, text) for number, text in islice(texts.items(), _MOST_HELD)}
            best = max(best, *agrees.values(), 0)
            order = sorted((-agrees[number], number) for number in agrees)
            steps += [self._sources[number].told(place) for _, number in order[:_MOST_STEPS]]
        match = ("cited", "reworded", "word for word")[best]
        return {"origin": "tool", "match": match, "steps": _each_once(steps)} if steps else None

    def _agrees(self, line: _Line, text: str) -> int:
        """Say how far a text says what a line says: 2 word for word, 1 in other words, 0 not."""
        there = words_of(text)
        tight = there.translate(None, b" \n")
        open_needles = [needle for needle in line.sentences if not _stands(needle.replace(b" ", b""), tight)]
        if not open_needles:
            return 2
        return int(all(likeness(needle, there, self._stem) for needle in open_needles))

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


def _source_in(step: Step) -> _Source | None:
    """Return what a step found out or was told; None for other steps, and for calls that were refused or failed."""
    record = step.record
    if step.kind == "answer" and record["said"]:
        return _Source("person", step.name, None, None, str(record["said"]), "what a person said")
    if step.kind != "tool" or any(key in record for key in ("refused", "error", "unknown_outcome")):
        return None
    given: Any = record["arguments"]
    arguments = cast(dict[str, Any], given) if isinstance(given, dict) else {"": given}
    return _Source("tool", step.name, record["tool"], arguments, str(record["result"]))


def _each_once(steps: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {(step["step"], step["place"]): step for step in steps}
    return list(known.values())[: 2 * _MOST_STEPS]
