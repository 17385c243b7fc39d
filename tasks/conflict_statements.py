"""What a text states, read without a model: quantities, dates, statuses and denials, each with what it is about."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tasks.conflict_fragments import (
    SPLIT,
    WORD,
    Fragment,
    Term,
    adjunct,
    follows_word,
    has_verb,
    is_identifier,
    is_participle,
    noun_phrase,
    plain,
    qualifiers_in,
    refers_back,
    says_nothing,
    split_fragments,
    verb_start,
    years_in,
    years_of,
)
from tasks.conflict_measures import Day, Quantity, find_dates, find_quantities, is_unit, quantity_of
from tasks.conflict_terms import (
    CLASSES,
    EVENTS,
    NEGATIONS,
    NUMBERED,
    OPPOSITES,
    PREPOSITIONS,
    REFERENTS,
    SAME_STEM,
    SAYS_NOTHING,
    STATUSES,
    UNSURE,
)
from tasks.prose import Line, excerpt
from tasks.wording import split_sentences

Kind = Literal["number", "date", "choice", "yes/no"]

_NONE: frozenset[str] = frozenset()
_STATUS_WORDS = frozenset(STATUSES)
_DENIERS = NEGATIONS | OPPOSITES.keys()
_IDENTIFIER = re.compile(
    r"(?<![\w-])([^\W\d_][\w-]*) (?:#|no\.? ?)?(\d{1,5}(?:\.\d+)*(?:-\d+)*|[A-Z]|[IVX]{2,4})(?![\w,%]|\.\d| ?%)"
)
_MAYBE_IDENTIFIER = re.compile(r" (?:[nN][oO]\.? ?|#)?(?:\d|[A-Z](?!\w)|[IVX]{2})")
_LABEL = re.compile(r"([^\W_][^:|.!?;]{1,60}?)\s*:\s+(\S.*)", re.DOTALL)
_COMPARED = re.compile(
    r"(?:up|down|compared|versus|vs\.?|against|instead|rather|unlike|after|before|from|not|nearly)\b", re.I
)
_CHANGED_BY = re.compile(
    r"\b(?:by|rise of|fall of|increase of|decrease of|growth of|rose|grew|fell|increased|decreased|declined|jumped)"
    r"\s+(?:(?:about|around|nearly|almost|over|roughly|some)\s+)?$",
    re.I,
)
_AFTER_UNIT = re.compile(r"(?<=\d [a-zA-Z]\.)\s+(?=[A-Z])")  # "184 g. Battery" is no abbreviation
_CAPITAL = re.compile(r"\.? [A-Z]\w")
_COORDINATED = re.compile(r"\b(?:and|or)\b")
_LONGEST_LINE = 20_000
_LONGEST_SENTENCE, _MOST_DIGITS = 1500, 120  # beyond, it is a dump of something and no sentence
_PLAN_IN_FORCE = re.compile(r"\b(?:is|are) (?:now |currently |still )?(?:scheduled|planned|set|due)\b", re.I)
_NO_LONGER_THAN = 140
_LABEL_WORDS = 6
_VALUE_WORDS = 8
_VALUE_WORDS_INLINE = 3


@dataclass(frozen=True)
class Statement:
    """Something a text says about something. Two of one kind and family may contradict each other."""

    kind: Kind
    family: str
    """The unit of a number, the family of a status; "" for dates and denials."""
    value: Quantity | Day | str
    written: str
    source: str
    where: str
    quote: str
    core: frozenset[str]
    """Stems of what it is about."""
    extra: frozenset[str] = _NONE
    """Stems of what stands after the value: where, for whom."""
    names: frozenset[str] = _NONE
    """Those of both that are names."""
    qualifiers: frozenset[str] = _NONE
    """What tells it from others of its sort: years, quarters, `planned`, `first`."""
    qualifiers_before: frozenset[str] = _NONE
    """Those of what the text was about just before: `the third edition`."""
    years: frozenset[str] = _NONE
    years_before: frozenset[str] = _NONE
    """Years that the text was about just before."""
    context: frozenset[str] = _NONE
    """What the text was about just before, and as a whole."""
    context_names: frozenset[str] = _NONE
    mentioned: frozenset[str] = _NONE
    """Names in the sentences before."""
    referents: frozenset[str] = _NONE
    """Nouns such as `company` that stand for something told before."""
    standing: frozenset[str] = _NONE
    """Stem of a subject such as `the river`, which stands for a name when one was told."""
    words: tuple[str, ...] = ()
    """The words of `core` as written, in order."""
    place: int = 0
    """The sentence; what is said in one sentence does not contradict itself."""
    key: str = ""
    """Of a field: its path, with names for indexes; two fields are compared when it is the same."""
    thing: tuple[str, ...] = ()
    """Of a field: the object's own name, as the field's name and the words in it."""
    labelled: bool = False
    """It is a `Label: value`, a cell or a field."""
    inline: bool = False
    """It is a `Label: value` among sentences: of what they are about."""


class Reader:
    """Reads the statements of one output; what was said before tells what `the company` and `it` are."""

    thing: tuple[str, ...] = ()
    """What the object that is read calls itself; () for prose."""

    def __init__(self, source: str, stem: Callable[[str], str], known_names: frozenset[str], denied: str = "") -> None:
        self._source = source
        self._stem = stem
        self._known = known_names
        self._denied = {self._token(word) for word in set(denied.lower().split()) if not says_nothing(word)}
        self._main: tuple[Term, ...] = ()
        self._latest: tuple[Term, ...] = ()
        self._place = 0
        self._words: dict[str, tuple[str, str]] = {}
        self._mentioned: set[str] = set()
        self._years: frozenset[str] = _NONE
        self._qualifiers: frozenset[str] = _NONE
        self._lead_qualifiers: frozenset[str] = _NONE
        self._lead_terms: tuple[Term, ...] = ()
        self._standing: frozenset[str] = _NONE

    def read(self, lines: Sequence[Line]) -> Iterator[Statement]:
        """Yield what the lines state, in order; code, sources and notes state nothing."""
        table: list[Line] = []
        for line in [*lines, Line("", "blank", "")]:
            if line.kind == "table":
                table.append(line)
                continue
            if table:
                yield from self._table(table)
                table = []
            if line.kind == "heading":
                self._heading(plain(line.text))
            elif line.kind in ("prose", "item", "quote"):
                yield from self._line(line) if len(line.text) <= _LONGEST_LINE else ()

    def about(self, text: str) -> None:
        """Take a text, such as an object's name, as what the rest is about."""
        terms = tuple(term._replace(named=True) for term in self._terms(text, 0, known_only=True))
        self._main += terms

    def label(self, label: str, value: str, where: str, within: str = "") -> Iterator[Statement]:
        """Yield what a field's or cell's value states about its label; `within` names the entry."""
        entry = self._entry(within)
        yield from self._labelled(label, value, where, f"{label}: {value}", entry)

    def number(self, label: str, value: float, where: str, within: str = "") -> Statement:
        """Return what a number in a field states; `price_eur` and `capacity_mw` name their unit."""
        words = label.split()
        unit = words[-1] if len(words) > 1 and is_unit(words[-1]) else ""
        entry = self._entry(within)
        terms = (*entry, *self._terms(" ".join(words[:-1]) if unit else label, 0, known_only=True))
        self._place += 1
        quantity = quantity_of(value, unit)
        written = quantity.written
        return self._statement(
            "number",
            quantity.unit,
            quantity,
            written,
            where,
            f"{label}: {written}",
            terms,
            (),
            f"{label} {within}",
            True,
        )

    def choice(
        self, label: str, value: str, kind: Literal["choice", "yes/no"], where: str, within: str = ""
    ) -> Iterator[Statement]:
        """Yield what a field with a closed set of values states."""
        entry = self._entry(within)
        terms = (*entry, *self._terms(label, 0, known_only=True)) or (Term("status", label.lower(), 0, False),)
        self._place += 1
        status = {"true": "yes", "false": "no"}.get(value, value.lower().strip())
        family = "yes/no" if kind == "yes/no" else STATUSES.get(status, ("choice", ""))[0]
        status = STATUSES.get(status, ("", status))[1]
        yield self._statement(
            kind, family, status, value, where, f"{label}: {value}", terms, (), f"{label} {within}", True
        )

    def _entry(self, within: str) -> tuple[Term, ...]:
        return tuple(term._replace(named=True) for term in self._terms(within, 0, known_only=True))

    def _heading(self, text: str) -> None:
        terms = tuple(term for term in self._terms(text, 0, known_only=True) if term.named)
        self._latest = terms
        self._main = self._main or terms
        self._mentioned = {term.token for term in terms}
        self._years = frozenset(years_in(text))

    def _line(self, line: Line) -> Iterator[Statement]:
        text = plain(line.text)
        label = _LABEL.fullmatch(text)
        if label and len(label[1].split()) <= _LABEL_WORDS:
            if _is_entry(label[1], label[2], _VALUE_WORDS):
                yield from self._labelled(label[1], label[2], line.label, text, ())
                return
            text = label[2]
        rows = [(label, plain(row)) for label, row in line.rows]
        before = ""
        for sentence in (one for part in _AFTER_UNIT.split(text) for one in split_sentences(part)):
            place = next((label for label, row in rows if sentence[:30] in row), line.label)
            inline = _LABEL.fullmatch(sentence)
            if inline and _is_entry(inline[1], inline[2], _VALUE_WORDS_INLINE) and not has_verb(inline[1]):
                told = qualifiers_in(before) or self._qualifiers
                for one in self._labelled(inline[1], inline[2], place, sentence, ()):
                    yield replace(one, qualifiers_before=told, inline=True)
            else:
                yield from self._sentence(sentence, place)
                before = sentence

    def _table(self, lines: Sequence[Line]) -> Iterator[Statement]:
        rows = [
            ([plain(cell).strip() for cell in line.text.strip().strip("|").split("|")], line.label) for line in lines
        ]
        ruled = len(rows) > 1 and all(set(cell) <= set(":- ") for cell in rows[1][0])
        if not ruled or len(rows) < 3:
            return
        header = rows[0][0]
        for cells, where in rows[2:]:
            for name, cell in zip(header[1:], cells[1:], strict=False):
                entry = tuple(self._terms(cells[0], 0, known_only=True)) or _bare(cells[0])
                if entry or years_in(cells[0]):
                    label = f"{cells[0]} {name}" if years_in(cells[0]) and not entry else name
                    yield from self._labelled(label, cell, where, f"{cells[0]} | {name} | {cell}", entry)

    def _labelled(self, label: str, value: str, where: str, quote: str, entry: tuple[Term, ...]) -> Iterator[Statement]:
        self._place += 1
        bare = re.sub(r"\(([^()]*)\)", r" \1 ", label)
        terms = (*entry, *self._terms(bare, 0, known_only=True)) or (Term("status", label.lower(), 0, False),)
        first = SPLIT.split(value)[0] or value
        days = find_dates(first)
        quantities = [q for q in find_quantities(first, days) if not is_identifier(first, q)]
        if days and not quantities:
            terms = tuple(term for term in terms if term.token not in ("date", "day", "year")) or terms
            yield self._statement("date", "", days[0], days[0].written, where, quote, terms, (), "", True)
        elif len(quantities) == 1:
            quantity = self._with_unit(quantities[0], bare)
            rest = first[: quantity.start] + " " * (quantity.end - quantity.start) + first[quantity.end :]
            terms = tuple(t for t in terms if not is_unit(t.written)) or terms
            terms = (*terms, *self._terms(rest, 1, known_only=True))
            yield self._statement(
                "number", quantity.unit, quantity, quantity.written, where, quote, terms, (), f"{bare} {first}", True
            )
        elif (words := first.lower().strip(" .!").split()) and words[0] in STATUSES and len(words) <= 2:
            family, status = STATUSES[words[0]]
            kind: Kind = "yes/no" if family == "yes/no" else "choice"
            yield self._statement(kind, family, status, first.strip(" ."), where, quote, terms, (), bare, True)
        elif (
            len(words) == 2
            and words[0] in NEGATIONS
            and words[1] in STATUSES
            and words[1] in ("supported", "available")
        ):
            family, status = STATUSES[words[1]]
            opposite = "no" if family == "yes/no" else f"un{status}"
            yield self._statement("yes/no", family, opposite, first.strip(" ."), where, quote, terms, (), bare, True)

    def _with_unit(self, quantity: Quantity, label: str) -> Quantity:
        unit = next((word for word in reversed(label.split()) if (is_unit(word) and len(word) > 1) or word == "%"), "")
        if quantity.unit or not unit:
            return quantity
        given = quantity_of(1.0, unit)
        low, high, slack = quantity.low * given.low, quantity.high * given.low, quantity.slack * given.low
        return replace(quantity, unit=given.unit, low=low, high=high, slack=slack)

    def _sentence(self, sentence: str, where: str) -> Iterator[Statement]:
        if (
            sentence.endswith("?")
            or len(sentence) > _LONGEST_SENTENCE
            or sum(map(str.isdecimal, sentence)) > _MOST_DIGITS
        ):
            return
        self._place += 1
        fragments = split_fragments(sentence)
        for fragment in fragments:
            fragment.terms = tuple(self._terms(fragment.text, fragment.start))
        subjects = [self._subject(fragment, first=not i) for i, fragment in enumerate(fragments)]
        lead: Fragment | None = None
        carried = _NONE
        subject: tuple[Term, ...] = ()
        main = next((own for own in subjects if own), ())
        self._main = self._main or main
        for i, fragment in enumerate(fragments):
            own = subjects[i]
            self._standing = frozenset(t.token for t in own) & CLASSES if own and len(own) == 1 else _NONE
            if own is None and i == 0:
                lead = fragment
            inherited = () if own else (subject or main) if own == () else ()
            subject = own or subject
            if lead is not None and i == 1:
                self._lead_qualifiers = qualifiers_in(lead.text)
                self._lead_terms = lead.terms
            if own == () and (fragment.verb is None or fragment.verb > 0) and not fragment.quantities:
                carried = qualifiers_in(fragment.text)
            elif own:
                carried = qualifiers_in(fragment.text[: verb_start(fragment)])
            elif own == () and i:
                self._lead_qualifiers |= carried
            lead_days = lead.days if lead is not None and i and not fragment.days else []
            yield from self._fragment(fragment, inherited, lead_days, where, sentence, i)
        self._lead_qualifiers, self._lead_terms, self._standing = _NONE, (), _NONE
        if fragments and not refers_back(fragments[0]):
            told = qualifiers_in(lead.text) if lead else qualifiers_in(fragments[0].text[: verb_start(fragments[0])])
            self._qualifiers = told or self._qualifiers
            self._latest = main or self._latest
        self._mentioned |= {term.token for fragment in fragments for term in fragment.terms if term.named}

    def _subject(self, fragment: Fragment, first: bool) -> tuple[Term, ...] | None:
        """Return the terms before the verb; () when it goes on with an earlier subject, None when it has no verb."""
        word = fragment.words[0][0].lower() if fragment.words else ""
        if fragment.verb is None:
            bare = not fragment.quantities and not fragment.days and word not in PREPOSITIONS
            return () if is_participle(word) else fragment.terms if bare and first else None
        if fragment.verb == 0 or is_participle(word):
            return ()
        return fragment.before(fragment.words[fragment.verb][1])

    def _fragment(
        self,
        fragment: Fragment,
        inherited: tuple[Term, ...],
        lead_days: Sequence[Day],
        where: str,
        sentence: str,
        index: int,
    ) -> Iterator[Statement]:
        if index and fragment.verb is None and _COMPARED.match(fragment.text.strip()):
            return
        if fragment.quantities:
            for quantity in fragment.quantities:
                yield from self._number(fragment, quantity, inherited, lead_days, where, sentence)
        days = [day for day in fragment.days if day.month or follows_word(fragment, day)] or list(lead_days)
        if len(days) == 1:
            yield from self._event(fragment, days[0], inherited, where, sentence)
        if fragment.verb is not None:
            yield from self._verdicts(fragment, inherited, where, sentence)

    def _number(
        self,
        f: Fragment,
        quantity: Quantity,
        inherited: tuple[Term, ...],
        lead: Sequence[Day],
        where: str,
        quote: str,
    ) -> Iterator[Statement]:
        before = f.text[: quantity.start - f.start]
        if quantity.moved_from:
            return
        others = [noun_phrase(f, other) for other in f.quantities if other is not quantity]
        terms = [t for t in f.terms if not any(a <= t.start < b for a, b in others)]
        stop = adjunct(f, quantity.end)
        core = (*inherited, *(term for term in terms if term.start < stop))
        joint = _COORDINATED.search(f.text, quantity.end - f.start)
        last = f.start + joint.start() if joint else f.end
        extra = (*self._lead_terms, *(term for term in terms if stop <= term.start < last))
        years = frozenset(years_of(f, quantity, lead))
        changed = {"change"} if _CHANGED_BY.search(before) and not before.rstrip().endswith("to") else set[str]()
        yield self._statement(
            "number",
            quantity.unit,
            quantity,
            quantity.written,
            where,
            quote,
            core,
            extra,
            f.text[: last - f.start],
            False,
            changed,
            years,
        )
        self._years = years or self._years

    def _event(self, f: Fragment, day: Day, inherited: tuple[Term, ...], where: str, quote: str) -> Iterator[Statement]:
        inside = f.start <= day.start < f.end
        stop = day.start if inside else adjunct(f, f.words[f.verb][1] + f.start if f.verb is not None else f.start)
        core = (*inherited, *(term for term in f.terms if term.start < stop))
        if not any(term.token in EVENTS for term in core):
            return
        core = tuple(term for term in core if term.token not in ("date", "day", "year"))
        lead = f.text[: day.start - f.start].lower().split() if inside else []
        bound = {word for word in lead[-2:] if word in ("since", "until", "before", "after", "by", "from")}
        due = any(term.token == "deadlin" for term in core)
        bound = set[str]() if due else bound
        statement = self._statement("date", "", day, day.written, where, quote, core, (), f.text, False, bound)
        if "planned" in statement.qualifiers and _PLAN_IN_FORCE.search(f.text):
            # What is planned by now is what a bare `Launch: DATE` tells, too.
            yield replace(statement, qualifiers=statement.qualifiers - {"planned"})
        yield statement

    def _verdicts(self, f: Fragment, inherited: tuple[Term, ...], where: str, quote: str) -> Iterator[Statement]:
        words = [word.lower() for word, _ in f.words]
        if f.verb is None or not UNSURE.isdisjoint(words):
            return
        denied = sum(map(_denies, words)) % 2 if "n't" in f.text.lower() or not _DENIERS.isdisjoint(words) else 0
        if not denied and not _STATUS_WORDS.isdisjoint(words):
            yield from self._status(f, words, inherited, where, quote)
        if f.quantities or (
            not denied and sum(1 for term in f.terms if term.token in self._denied) + len(inherited) < 2
        ):
            return
        stop = adjunct(f, f.start + f.words[f.verb][1])
        terms = [*inherited, *f.terms]
        core = tuple(term for term in terms if term.start < stop or term in inherited)
        if len({term.token for term in core}) < 2:
            return
        extra = tuple(term for term in terms if term not in core)
        value = "no" if denied else "yes"
        yield self._statement(
            "yes/no", "", value, excerpt(f.text.strip(), 60).strip('"'), where, quote, core, extra, f.text, False
        )

    def _status(
        self, f: Fragment, words: list[str], inherited: tuple[Term, ...], where: str, quote: str
    ) -> Iterator[Statement]:
        for i, word in enumerate(words):
            family, status = STATUSES.get(word, ("", ""))
            before = words[i - 1] if i else ""
            after = f.text[f.words[i][1] + len(word) :].lstrip()
            ends = not after or not after[0].isalpha() or after.split()[0].lower().strip(".,") in PREPOSITIONS
            said = before in ("is", "are", "was", "were", "been", "remains", "remained", "remain", "be", "as", "still")
            if (
                family in ("decision", "state", "level", "test")
                and ends
                and (said or (family == "test" and i == f.verb))
            ):
                start = f.words[i][1] if family == "test" else f.words[max(0, (f.verb or 0))][1]
                terms = (*inherited, *f.before(start))
                if terms:
                    yield self._statement("choice", family, status, word, where, quote, terms, (), f.text, False)

    def _statement(
        self,
        kind: Kind,
        family: str,
        value: Quantity | Day | str,
        written: str,
        where: str,
        quote: str,
        core: Sequence[Term],
        extra: Sequence[Term],
        text: str,
        labelled: bool,
        qualified: Collection[str] = (),
        years: frozenset[str] = _NONE,
    ) -> Statement:
        context = (*self._latest, *self._main)
        names = frozenset(term.token for term in (*core, *extra) if term.named)
        return Statement(
            kind,
            family,
            value,
            written,
            self._source,
            where,
            _shortened(quote),
            frozenset(term.token for term in core),
            frozenset(term.token for term in extra),
            names,
            qualifiers_in(text).union(qualified, _NONE if labelled else self._lead_qualifiers),
            self._qualifiers,
            frozenset(years_in(text)) if labelled and kind != "date" else years,
            self._years,
            frozenset(term.token for term in context),
            frozenset(term.token for term in context if term.named),
            frozenset(self._mentioned),
            frozenset(REFERENTS[word] for word in REFERENTS.keys() & WORD.findall(text.lower())),
            self._standing,
            tuple(dict.fromkeys(term.written for term in core)),
            self._place,
            labelled=labelled,
        )

    def _terms(self, text: str, offset: int, known_only: bool = False) -> Iterator[Term]:
        """Yield the words that carry meaning; `offset` 0 is the start of a sentence, whose capital says nothing."""
        taken: list[tuple[int, int]] = []
        for match in _IDENTIFIER.finditer(text) if _MAYBE_IDENTIFIER.search(text) else ():
            word = match[1].lower()
            if word in NUMBERED or (match[1][0].isupper() and word not in SAYS_NOTHING and word not in PREPOSITIONS):
                taken.append(match.span())
                yield Term(f"{self._token(word)}{match[2].lower()}", match[0], offset + match.start(), True)
        for match in WORD.finditer(text):
            token, word = self._word(match[0])
            if not token or any(a <= match.start() < b for a, b in taken):
                continue
            yield Term(token, word, offset + match.start(), self._named(match, text, offset, known_only))

    def _word(self, written: str) -> tuple[str, str]:
        """Return the token and the word in small letters; "" for one that says nothing."""
        if written not in self._words:
            word = written.lower().removesuffix("'s").removesuffix("’s")
            self._words[written] = ("" if says_nothing(word) else self._token(word), word)
        return self._words[written]

    def _token(self, word: str) -> str:
        stem = self._stem(OPPOSITES.get(word, word))
        return SAME_STEM.get(stem, stem)

    def _named(self, match: re.Match[str], text: str, offset: int, known_only: bool) -> bool:
        word = match[0]
        if not word[0].isupper():
            return False
        if word.lower() in self._known:
            return True
        return not known_only and (offset + match.start() > 0 or bool(_CAPITAL.match(text, match.end())))


def _denies(word: str) -> bool:
    return word in _DENIERS or word.endswith("n't")


def _is_entry(label: str, value: str, most_words: int) -> bool:
    """Say whether `label: value` is an entry such as `Risk: high` rather than a sentence with a colon."""
    return len(label.split()) <= _LABEL_WORDS and len(value.split()) <= most_words and not has_verb(value)


def _bare(cell: str) -> tuple[Term, ...]:
    """Return a row's name that has only words of no meaning of their own, such as "Large"."""
    bare = cell.strip().lower()
    return (Term(bare, bare, 0, True),) if any(map(str.isalpha, bare)) else ()


def _shortened(text: str) -> str:
    return excerpt(text, _NO_LONGER_THAN)[1:-1]
