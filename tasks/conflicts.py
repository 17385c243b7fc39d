"""Where outputs contradict each other, found without a model: two numbers, dates, statuses or answers for one thing."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

from project.spec import FieldSpec
from tasks.conflict_fields import read_entries
from tasks.conflict_fragments import denials_in, names_in
from tasks.conflict_measures import Day, Quantity, same_day, same_quantity
from tasks.conflict_statements import Kind, Reader, Statement
from tasks.contracts import read_contract
from tasks.prose import read_lines
from tasks.strict_json import find_object
from tasks.wording import make_stemmer

_MOST_ALIKE = 60
_MOST_PAIRS = 15_000
_MOST_CONFLICTS = 200


@dataclass(frozen=True)
class Said:
    """One side of a conflict."""

    source: str
    """The output's name."""
    value: str
    """As written."""
    where: str
    """`line 3`, or the path of a field."""
    quote: str
    """The sentence, shortened."""


@dataclass(frozen=True)
class Conflict:
    """Two or more statements that cannot all be true."""

    kind: Kind
    subject: str
    said: tuple[Said, ...]

    @property
    def text(self) -> str:
        """One line for people: `revenue of 2025: 4.2 million (research, line 3) but 4.5 million (finance, line 7)`."""
        sides = [f"{one.value} ({one.source}, {one.where})" for one in self.said]
        return f"{self.subject}: {sides[0]} but {', '.join(sides[1:])}"

    def to_json(self) -> dict[str, object]:
        """Return the conflict as plain JSON."""
        return {"kind": self.kind, "subject": self.subject, "said": [vars(one) for one in self.said]}


def find_conflicts(
    outputs: Mapping[str, str], contracts: Mapping[str, Mapping[str, FieldSpec] | None]
) -> list[Conflict]:
    """Return what the outputs say differently about the same thing, within one output too, in order.

    Compared are fields of one path, and in texts the statements whose words, names and periods agree. What is rounded,
    approximate or a range conflicts with nothing that it may stand for. A loosely worded conflict is rather missed
    than a false one reported.
    """
    stem = make_stemmer()
    names, denied = names_in(outputs.values()), denials_in(outputs.values())
    statements: list[Statement] = []
    for source, text in outputs.items():
        reader = Reader(source, stem, names, denied)
        value = _object(text, contracts.get(source))
        if value is None:
            statements += _records(list(reader.read(read_lines(text))))
        else:
            statements += read_entries(reader, value, contracts.get(source))
    found: dict[tuple[Kind, tuple[Said, ...]], Conflict] = {}
    for conflict in map(_conflict, islice(_groups(statements), _MOST_CONFLICTS)):
        found.setdefault((conflict.kind, conflict.said), conflict)
    return list(found.values())


def _object(text: str, fields: Mapping[str, FieldSpec] | None) -> Mapping[str, object] | None:
    if fields is not None:
        read, _ = read_contract(text, fields)
        return read
    return find_object(text)[0] if text.lstrip().startswith(("{", "```")) else None


def _records(statements: Sequence[Statement]) -> Iterator[Statement]:
    """Leave out labels that stand in one output with several values: each is of another record."""
    values: defaultdict[tuple[object, ...], set[str]] = defaultdict(set)
    for one in statements:
        if one.labelled:
            values[_label_key(one)].add(one.written)
    for one in statements:
        if not one.labelled or len(values[_label_key(one)]) == 1:
            yield one


def _label_key(one: Statement) -> tuple[object, ...]:
    return one.kind, one.family, one.core, one.qualifiers, one.years


def _groups(statements: Sequence[Statement]) -> Iterator[list[Statement]]:
    """Yield the statements of each conflict together, with those that agree with either side."""
    known: defaultdict[tuple[object, ...], list[Statement]] = defaultdict(list)
    for one in statements:
        known[one.source, one.kind, one.family, one.core].append(one)
    edges: list[tuple[int, int]] = []
    for first, second in _candidates(statements):
        one, other = statements[first], statements[second]
        if not _alike(one, other) or _agree(one, other):
            continue
        # Who says both values tells two things apart that look alike to us.
        both = () if one.source == other.source else ((one.source, other), (other.source, one))
        if one.key or not any(_agree(x, b) for a, b in both for x in known[a, b.kind, b.family, b.core][:_MOST_ALIKE]):
            edges.append((first, second))
    groups: dict[int, set[int]] = {}
    for one, other in edges:
        joined = groups.get(one, {one}) | groups.get(other, {other})
        for member in joined:
            groups[member] = joined
    seen: set[int] = set()
    for first in sorted(groups):
        if first not in seen:
            seen |= groups[first]
            yield [statements[i] for i in sorted(groups[first])]


def _candidates(statements: Sequence[Statement]) -> Iterator[tuple[int, int]]:
    """Yield the pairs worth a look, each once: those that share their rarest stem, no bucket without a bound."""
    buckets: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, one in enumerate(statements):
        if one.key:
            buckets["", one.kind, one.key].append(i)
    denied = {token for one in statements if one.kind == "yes/no" and one.value == "no" for token in one.core}
    for i, one in enumerate(statements):
        # An answer nobody denies needs no look, and they are most of a text.
        if one.kind != "yes/no" or one.labelled or one.core <= denied:
            for token in one.core - one.names or one.core:
                buckets[one.kind, one.family, one.qualifiers, token].append(i)
    seen: set[tuple[int, int]] = set()
    for bucket in sorted(buckets.values(), key=len):
        for pair in combinations(bucket[:_MOST_ALIKE], 2):
            if len(seen) >= _MOST_PAIRS:
                return
            if pair not in seen:
                seen.add(pair)
                yield pair


def _alike(one: Statement, other: Statement) -> bool:
    """Say whether two statements of one kind are about the same thing."""
    if one.key and other.key:
        apart = _apart(one.context_names, other.context_names, one, other) or _other_things(one.thing, other.thing)
        return one.source != other.source and one.key == other.key and not apart
    if one.source == other.source:
        return _alike_inside(one, other)
    if (
        one.qualifiers != other.qualifiers
        or not _same_years(one, other)
        or _apart(one.context_names, other.context_names, one, other)
    ):
        return False
    if (one.inline or other.inline) and _told_elsewhere(one, other):
        return False
    before, after = one.qualifiers_before, other.qualifiers_before
    shared = one.core & other.core
    if not (shared - one.names or (shared and one.kind == "choice")) or (before and after and not before & after):
        return False
    rest_one = _unexplained(one, other, len(shared))
    rest_other = _unexplained(other, one, len(shared))
    if rest_one and rest_other:
        return False
    if (one.kind, one.family) == ("yes/no", "") and (rest_one or rest_other):
        return False
    rest = rest_one | rest_other
    if rest & (one.names | other.names) or len(rest) > 1 or (rest and len(shared) < 2):
        return False
    if one.kind == "date":
        return True
    if one.referents and other.referents and not one.referents & other.referents and len(shared) < 2:
        return False
    return _extras_fit(one, other, len(shared) + len(one.referents & other.referents))


def _alike_inside(one: Statement, other: Statement) -> bool:
    """Within one output, only what is worded alike in two sentences of prose."""
    same = (
        one.core == other.core
        and one.names == other.names
        and (one.qualifiers, one.years) == (other.qualifiers, other.years)
    )
    prose = not one.labelled and not other.labelled and one.place != other.place
    if not same or not prose or one.referents != other.referents or len(one.core) < 2:
        return False
    extras = not one.extra or not other.extra or bool(one.extra & other.extra)
    return extras and (one.core > one.names or len(one.core) > 2)


def _apart(names: frozenset[str], others: frozenset[str], one: Statement, other: Statement) -> bool:
    """Say whether two statements that name nothing stand in texts about different things."""
    told = one.core & other.core & (one.names | other.names)
    return bool(names) and bool(others) and not names & others and not told


def _told_elsewhere(one: Statement, other: Statement) -> bool:
    """Say whether the texts before two statements have no subject and no name in common."""
    left, right = one.mentioned | one.context, other.mentioned | other.context
    return bool(left) and bool(right) and not left & right


def _other_things(one: Sequence[str], other: Sequence[str]) -> bool:
    """Say whether two objects have different names: each has a word that the other has not, no abbreviation of one."""
    if not one or not other or one[0] != other[0]:
        return False
    left, right = ("".join(filter(str.isalnum, "".join(words[1:]))) for words in (one, other))
    if left in right or right in left:
        return False

    def more(words: Sequence[str], others: Sequence[str]) -> bool:
        return any(not any(w == o or _abbreviates(w, o) or _abbreviates(o, w) for o in others) for w in words)

    return more(one[1:], other[1:]) and more(other[1:], one[1:])


def _abbreviates(short: str, word: str) -> bool:
    return len(short) > 1 and short.isalpha() and word.startswith(short)


def _same_years(one: Statement, other: Statement) -> bool:
    left, right = one.years or one.years_before, other.years or other.years_before
    if one.years or other.years:
        return bool(left & right) if left and right else False
    return not left or not right or bool(left & right)


def _unexplained(one: Statement, other: Statement, shared: int) -> frozenset[str]:
    """Return what one statement names and the other does not, nor the text before it."""
    rest = one.core - other.core - other.extra
    named, mine = other.names or other.context_names, one.names or one.context_names
    if named and named <= mine:
        # "Marsh" is Elin Marsh, "the river" the Vesna, when nothing else is named.
        rest -= one.names | one.standing
    if other.names:
        return rest - (other.context - one.names)
    rest -= other.context | (other.mentioned if shared > 1 else frozenset())
    if named:
        return rest
    known = one.context if other.labelled else one.context_names if other.referents else frozenset[str]()
    return frozenset() if rest <= known else rest


def _extras_fit(one: Statement, other: Statement, shared: int) -> bool:
    left, right = one.extra - other.core - other.context, other.extra - one.core - one.context
    left, right = left - right, right - left
    if left and right:
        return False
    rest = left or right
    names = (one.names | other.names) & rest
    if (one.kind, one.family) == ("yes/no", "") and rest:
        return all(any(c.isdigit() for c in token) for token in rest)
    return not names and (not rest or shared >= 2)


def _agree(one: Statement, other: Statement) -> bool:
    left, right = one.value, other.value
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        if one.family != other.family:
            return True
        return same_quantity(left, right)
    if isinstance(left, Day) and isinstance(right, Day):
        return same_day(left, right)
    return left == right


def _conflict(group: Sequence[Statement]) -> Conflict:
    shared = group[0].core.intersection(*(one.core for one in group))
    told = max(group, key=lambda one: (len(one.core) <= len(shared) + 2, len(one.words)))
    subject = " ".join(told.words) or "value"
    qualifiers = [*sorted(told.years), *sorted(told.qualifiers)]
    subject += f" of {', '.join(qualifiers)}" if qualifiers else ""
    said: dict[tuple[str, str], Said] = {}
    for one in group:
        said.setdefault((one.source, one.written), Said(one.source, one.written, one.where, one.quote))
    return Conflict(group[0].kind, subject, tuple(said.values()))
