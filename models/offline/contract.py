"""Fill a contract from the evidence with what the sources say; what they do not say is null, left out, or refused."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.offline.compose import Work, relevant
from models.offline.cues import defined_term
from models.offline.decide import refuse_field
from models.offline.grouping import fits_under
from models.offline.page import title_of
from models.offline.rank import Scored, affinity, make_query, pick
from models.offline.schema import (
    allows_null,
    definitions_of,
    fits_number,
    fits_text,
    listing,
    mapping,
    resolve,
    type_of,
    whole,
)

_DEFAULT_ITEMS = 5
_MAX_ITEMS = 40
_MAX_DEPTH = 12
_MIN_AFFINITY = 0.25
_UNKNOWN_CHOICES = ("unknown", "not known", "not stated", "not specified", "unclear", "n/a", "not found")

_SOURCE_NAME = re.compile(
    r"(?:^|_)(?:sources?|citations?|cites?|references?|refs?|urls?|links?|location|place|where|quellen?"
    r"|fuentes?)(?:$|_)",
    re.I,
)
# Names that say only "a statement": any passage on the topic fits them.
_ANY_CLAIM_WORDS = """
    claim claims text texts sentence sentences quote quotes statement statements finding findings fact facts point
    points key main passage passages evidence excerpt excerpts answer answers summary detail details takeaway
    takeaways insight insights description explanation content body item items entry entries result results note
    notes
"""
_ANY_CLAIM = frozenset(_ANY_CLAIM_WORDS.split())
# Names that ask for statements of a kind, which `cues` knows or the name's own words find.
_KIND_OF_CLAIM = re.compile(
    r"(?:^|_)(?:definitions?|reasons?|risks?|benefits?|advantages|limits|limitations|drawbacks|costs|steps|examples"
    r"|practices|recommendations|mistakes|background|overview|introduction|conclusions?|why|how|when|what)(?:$|_)",
    re.IGNORECASE,
)
_TOPIC_NAME = re.compile(r"^(?:title|topic|subject|headline|question|query)$", re.I)
_HEADING_NAME = re.compile(r"^(?:heading|section|aspect|title)$", re.I)


class _Unknown(Exception):
    """The sources do not say what belongs at `path`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path)
        self.path = path
        self.reason = reason


@dataclass
class _Filling:
    """What one filling works with, and the passages it has used so far."""

    work: Work
    scored: Sequence[Scored]
    definitions: Mapping[str, Any]
    inputs: Mapping[str, str | int | float]
    used: dict[str, Scored] = field(default_factory=dict[str, Scored])


@dataclass(frozen=True)
class _Place:
    """Where in the object a value stands; `pair` is the passage that all texts of its object come from."""

    name: str
    path: str
    depth: int
    pair: Scored | None = None


def fill(work: Work, schema: Mapping[str, Any], inputs: Mapping[str, str | int | float]) -> str:
    """Return a JSON object that fits `schema`, or the refusal that names the first field which cannot be known."""
    definitions = definitions_of(schema)
    filling = _Filling(work, relevant(work), definitions, inputs)
    try:
        value = _object(resolve(schema, definitions) or {}, filling, _Place("", "", 0))
    except _Unknown as unknown:
        return refuse_field(unknown.path, unknown.reason)
    return json.dumps(value, ensure_ascii=False, indent=2)


def queries(schema: Mapping[str, Any], topic: str) -> list[str]:
    """Return what to search for: the topic, and the topic with each field's name that asks for a kind of statement."""
    names = [name.replace("_", " ") for name in mapping(schema.get("properties")) if _KIND_OF_CLAIM.search(name)]
    return [topic, *(f"{topic} {name}" for name in names[:4])]


def _object(schema: Mapping[str, Any], filling: _Filling, place: _Place) -> dict[str, Any]:
    if place.depth > _MAX_DEPTH:
        raise _Unknown(place.path, "nests too deeply to be filled from sources")
    properties = mapping(schema.get("properties"))
    required = [str(name) for name in listing(schema.get("required"))]
    undescribed = [name for name in required if name not in properties]
    if undescribed:
        raise _Unknown(_join(place.path, undescribed[0]), "is required, and the contract does not say what it is")
    pair = _pair(properties, filling, place)
    found: dict[str, Any] = {}
    for name in sorted(properties, key=_turn):
        inner = properties[name]
        inside = _Place(name, _join(place.path, name), place.depth + 1, pair)
        try:
            found[name] = _value(inner, filling, inside)
        except _Unknown:
            if allows_null(inner):
                found[name] = None
            elif name in required:
                raise
    return {name: found[name] for name in properties if name in found}


def _turn(name: str) -> int:
    """Order the filling of fields: what asks for one kind of statement first, lists of the passages used last."""
    return 2 if _SOURCE_NAME.search(name) else 0 if _KIND_OF_CLAIM.search(name) else 1


def _value(schema: object, filling: _Filling, place: _Place) -> Any:
    found = resolve(schema, filling.definitions)
    if found is None:
        raise _Unknown(place.path, "has a schema of several parts, which can't be filled from sources")
    if "const" in found:
        return found["const"]
    if "enum" in found:
        return _choice(listing(found["enum"]), place)
    kind = type_of(found)
    if kind == "object":
        return _object(found, filling, _Place(place.name, place.path, place.depth))
    if kind == "array":
        return _array(found, filling, place)
    given = filling.inputs.get(place.name) if place.depth == 1 else None
    if given is not None and _is_kind(given, kind) and (isinstance(given, str) or fits_number(given, found)):
        return _fitting(given, found, place) if isinstance(given, str) else given
    if kind == "string":
        return _text(found, filling, place)
    raise _Unknown(place.path, f"is of type {kind}, which takes more than selecting sentences")


def _text(schema: Mapping[str, Any], filling: _Filling, place: _Place) -> str:
    if place.pair is not None:
        sentence = place.pair.sentence
        if _SOURCE_NAME.search(place.name):
            return _fitting(sentence.cite, schema, place)
        if _HEADING_NAME.match(place.name) and sentence.heading:
            return _fitting(sentence.heading, schema, place)
        if _is_claim(place.name, schema):
            return _fitting(sentence.text, schema, place)
    elif _TOPIC_NAME.match(place.name) and place.depth == 1:
        return _fitting(title_of(filling.work.request.topic), schema, place)
    elif _is_claim(place.name, schema):
        item = _next(place.name, whole(schema, "maxLength", 10_000), filling)
        if item is not None:
            return _fitting(f"{item.sentence.text} [{item.sentence.cite}]", schema, place)
        raise _Unknown(place.path, "has no passage in the sources")
    raise _Unknown(place.path, "asks for something other than a sentence of the sources")


def _array(schema: Mapping[str, Any], filling: _Filling, place: _Place) -> list[Any]:
    least = max(0, whole(schema, "minItems", 0))
    wanted = filling.work.request.count or _DEFAULT_ITEMS
    most = min(_MAX_ITEMS, whole(schema, "maxItems", max(wanted, least)))
    items = resolve(schema.get("items"), filling.definitions) or {}
    found: list[Any] = []
    reason = f"needs {least} entries, more than the sources give"
    if type_of(items) == "string" and _SOURCE_NAME.search(place.name):
        found = list(dict.fromkeys(item.sentence.cite for item in filling.used.values()))[:most]
    else:
        try:
            while len(found) < most:
                inside = _Place(place.name, f"{place.path}[{len(found)}]", place.depth + 1)
                found.append(_value(items, filling, inside))
        except _Unknown as unknown:
            reason = unknown.reason if not found else reason
    if len(found) < least:
        raise _Unknown(place.path, reason)
    return found


def _pair(properties: Mapping[str, Any], filling: _Filling, place: _Place) -> Scored | None:
    """Choose the passage that an object's claim and its source both come from; None for an object without a source."""
    schemas = {name: resolve(inner, filling.definitions) or {} for name, inner in properties.items()}
    texts = {name: inner for name, inner in schemas.items() if type_of(inner) == "string" and "enum" not in inner}
    source = next((name for name in texts if _SOURCE_NAME.search(name)), None)
    claim = next((name for name in texts if name != source and _is_claim(name, texts[name])), None)
    if source is None or claim is None:
        return None
    asked = claim if set(claim.split("_")) - _ANY_CLAIM or not place.name else place.name
    item = _next(asked, whole(texts[claim], "maxLength", 10_000), filling)
    if item is None:
        raise _Unknown(_join(place.path, claim), "has no passage in the sources")
    return item


def _next(name: str, most_characters: int, filling: _Filling) -> Scored | None:
    """Take the best passage not used yet that fits what a field's name asks for."""
    words = filling.work.words
    free = [
        item
        for item in filling.scored
        if item.sentence.key not in filling.used
        and len(item.sentence.text) <= most_characters
        and fits_under(item, name.replace("_", " "))
    ]
    specific = [word for word in name.lower().split("_") if word not in _ANY_CLAIM]
    if specific:
        query = make_query(" ".join(specific), words)
        defines = "definition" in query.kinds
        fits = {
            item.sentence.key: affinity(item, query) + (defines and defined_term(item.sentence.text, words.code) != "")
            for item in free
        }
        least = max(_MIN_AFFINITY, 0.6 * max(fits.values(), default=0.0))
        free = [item for item in free if fits[item.sentence.key] >= least]
    best = pick(free, 1, filling.used.values())
    if not best:
        return None
    filling.used[best[0].sentence.key] = best[0]
    return best[0]


def _is_claim(name: str, schema: Mapping[str, Any]) -> bool:
    if schema.get("format") or schema.get("pattern"):
        return False
    described = str(schema.get("description") or "")
    parts = set(name.lower().split("_"))
    return bool(
        parts <= _ANY_CLAIM
        or _KIND_OF_CLAIM.search(name)
        or re.search(r"\b(?:sentences?|claims?|quotes?|passages?|statements?|word for word)\b", described, re.I)
    )


def _choice(choices: Sequence[Any], place: _Place) -> Any:
    if len(choices) == 1:
        return choices[0]
    for choice in choices:
        if choice is None or (isinstance(choice, str) and choice.strip().lower() in _UNKNOWN_CHOICES):
            return choice
    raise _Unknown(place.path, "asks to choose, which takes judgement")


def _fitting(text: str, schema: Mapping[str, Any], place: _Place) -> str:
    if not fits_text(text, schema):
        raise _Unknown(place.path, "has a form that no passage meets")
    return text


def _is_kind(value: object, kind: str) -> bool:
    if kind == "string" or isinstance(value, str):
        return kind == "string" and isinstance(value, str)
    return isinstance(value, int) if kind == "integer" else kind == "number"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name
