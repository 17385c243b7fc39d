"""Contracts: told to the model, read from its answer, checked."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from project.spec import FieldSpec
from tasks.contracts import ask_again, canonical, instructions, json_schema, read_contract

_FIELDS = {
    "title": FieldSpec(description="Heading of the brief"),
    "count": FieldSpec(type="int", minimum=1, maximum=5),
    "score": FieldSpec(type="float", optional=True, minimum=0.5),
    "done": FieldSpec(type="bool", optional=True),
    "colour": FieldSpec(choices=["red", "green"], optional=True),
    "tags": FieldSpec(type="list[str]", choices=["a", "b"], optional=True, maximum=2),
    "numbers": FieldSpec(type="list[int]", optional=True),
    "ratios": FieldSpec(type="list[float]", optional=True, minimum=1),
    "place": FieldSpec(type="object", optional=True, fields={"path": FieldSpec(), "line": FieldSpec(type="int")}),
    "claims": FieldSpec(
        type="list[object]",
        optional=True,
        fields={"claim": FieldSpec(), "places": FieldSpec(type="list[object]", fields={"path": FieldSpec()})},
    ),
    "rest": FieldSpec(type="object", optional=True),
}
_GOOD: dict[str, Any] = {
    "title": "Solar",
    "count": 3,
    "score": 0.75,
    "done": False,
    "colour": "red",
    "tags": ["a", "b"],
    "numbers": [1, 2],
    "ratios": [0.5, 2],
    "place": {"path": "a.md", "line": 3},
    "claims": [{"claim": "It is warm", "places": [{"path": "a.md"}]}],
    "rest": {"anything": [1, {"goes": None}]},
}


_WRONG: list[tuple[dict[str, Any], str]] = [
    ({"title": 3}, "title: must be a text, got 3"),
    ({"title": None}, "title: must not be null; it must be a text"),
    ({"title": "x" * 10, "count": "3"}, 'count: must be a whole number, got "3"'),
    ({"count": True}, "count: must be a whole number, got true"),
    ({"count": 2.5}, "count: must be a whole number, got 2.5"),
    ({"count": 0}, "count: must be >= 1, got 0"),
    ({"count": 6}, "count: must be <= 5, got 6"),
    ({"score": "high"}, 'score: must be a number, got "high"'),
    ({"score": 0.25}, "score: must be >= 0.5, got 0.25"),
    ({"done": 1}, "done: must be true or false, got 1"),
    ({"done": "true"}, 'done: must be true or false, got "true"'),
    ({"colour": "blue"}, 'colour: must be one of "red", "green", got "blue"'),
    ({"colour": 1}, 'colour: must be one of "red", "green", got 1'),
    ({"tags": "a"}, 'tags: must be a list of texts, got "a"'),
    ({"tags": ["a", "c"]}, 'tags[1]: must be one of "a", "b", got "c"'),
    ({"tags": ["a", "a", "a"]}, "tags: the number of entries must be <= 2, got 3"),
    ({"numbers": [1, None]}, "numbers[1]: must be a whole number, got null"),
    ({"ratios": []}, "ratios: the number of entries must be >= 1, got 0"),
    ({"place": []}, "place: must be an object, got a list of 0"),
    ({"place": {"path": "a", "line": {}}}, "place.line: must be a whole number, got an object"),
    (
        {"claims": [{"claim": "x", "places": [{}]}]},
        "claims[0].places[0].path: is missing; it must be a text",
    ),
    ({"tittle": 1}, "the object: unknown field `tittle`; did you mean `title`?"),
]


def _problems(text: str, fields: dict[str, FieldSpec] | None = None) -> list[str]:
    value, problems = read_contract(text, _FIELDS if fields is None else fields)
    assert value is None
    return problems


def _changed(**changes: object) -> list[str]:
    return _problems(json.dumps(_GOOD | changes))


def test_a_right_answer_is_read_as_it_is() -> None:
    assert read_contract(json.dumps(_GOOD), _FIELDS) == (_GOOD, [])


def test_fields_are_returned_in_the_contracts_order_and_missing_optional_ones_are_none() -> None:
    value, problems = read_contract('{"count": 1, "title": "x"}', _FIELDS)
    assert problems == []
    assert value is not None
    assert list(value) == list(_FIELDS)
    assert value["title"] == "x"
    assert value["place"] is None


@pytest.mark.parametrize(
    "answer",
    [
        '{"a": "x"}',
        '\ufeff \n{"a": "x"}\n\n',
        '```json\n{"a": "x"}\n```',
        '```\r\n{"a": "x"}\r\n```\r\n',
        'Here it is:\n\n```json\n{"a": "x"}\n```\nI hope it helps 🎉',
        'Here it is: {"a": "x"} – and that is all about {topic}.',
        'As [notes.md:3] says:\n{"a": "x"}',
    ],
)
def test_the_one_object_in_an_answer_is_found(answer: str) -> None:
    assert read_contract(answer, {"a": FieldSpec()}) == ({"a": "x"}, [])


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("", "the answer holds no JSON object; it must be exactly one"),
        ("I cannot do that", "the answer holds no JSON object; it must be exactly one"),
        ("null", "the answer is null; it must be one JSON object"),
        ('"{}"', 'the answer is "{}"; it must be one JSON object'),
        ('[{"a": "x"}]', "the answer is a list of 1; it must be one JSON object"),
        ('{"a": "x"} {"a": "y"}', "the answer holds more than one JSON object; it must be exactly one"),
        ('{"a": "x"}\n{"a": "x"}', "the answer holds more than one JSON object; it must be exactly one"),
        ('First [{"a": "x"}]', "line 1, column 8: the object is a part of something; give one JSON object"),
        ('"result": {"a": "x"}', "line 1, column 11: the object is a part of something; give one JSON object"),
        ('{"a": "x"}}', "line 1, column 11: this } closes nothing"),
        ('{"a": "x",}', "line 1, column 11: not JSON: "),
        ("{'a': 'x'}", "line 1, column 2: not JSON: "),
        ('{a: "x"}', "line 1, column 2: not JSON: "),
        ('{name: {"a": "x"}}', "line 1, column 2: not JSON: "),
        ('```json\n{"a": "x" // why\n}\n```', "line 2, column 11: not JSON: "),
        ('{"a": "x', "line 1, column 7: the JSON is not finished: "),
        ('{"a": "x"', "line 1, column 10: the JSON is not finished: "),
        ('{"a": "x\ny"}', "line 1, column 9: not JSON: "),
    ],
)
def test_an_answer_that_is_not_exactly_one_object_is_refused_and_never_repaired(answer: str, problem: str) -> None:
    problems = _problems(answer, {"a": FieldSpec()})
    assert len(problems) == 1
    assert problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ('{"a": "x", "a": "y"}', 'the key "a" stands twice in one object'),
        ('{"a": {"b": 1, "b": 1}}', 'the key "b" stands twice in one object'),
        ('{"a": NaN}', "NaN is not JSON; null says that there is no value"),
        ('{"a": -Infinity}', "-Infinity is not JSON; null says that there is no value"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": ' + "9" * 5000 + "}", "a number of 5000 digits is too long"),
        ('{"a": "\\ud83d"}', '"\\ud83d" holds half of a character'),
    ],
)
def test_what_json_readers_disagree_on_is_refused(answer: str, problem: str) -> None:
    assert problem in _problems(answer, {"a": FieldSpec(type="object")})


@pytest.mark.parametrize(("changes", "problem"), _WRONG)
def test_a_wrong_value_is_named_by_its_path_with_what_was_got_and_what_is_allowed(
    changes: dict[str, object], problem: str
) -> None:
    assert _changed(**changes) == [problem]


def test_an_unknown_field_without_a_near_name_is_answered_with_the_open_fields() -> None:
    fields = {"claim": FieldSpec(), "source": FieldSpec()}
    assert _problems('{"claim": "x", "source": "y", "zzz": 1}', fields) == [
        "the object: unknown field `zzz`; the fields are claim, source"
    ]


def test_every_problem_is_reported_at_once() -> None:
    answer = '{"titel": "x", "count": "3", "score": null, "claims": [{"claim": 1, "places": [], "extra": 2}, 7]}'
    assert _problems(answer) == [
        "title: is missing; it must be a text",
        'count: must be a whole number, got "3"',
        "claims[0].claim: must be a text, got 1",
        "claims[0]: unknown field `extra`; the fields are claim, places",
        "claims[1]: must be an object, got 7",
        "the object: unknown field `titel`; did you mean `title`?",
    ]


def test_a_whole_number_may_be_written_with_a_fraction_of_zero() -> None:
    value, problems = read_contract('{"title": "x", "count": 3.0, "numbers": [1e2]}', _FIELDS)
    assert problems == []
    assert value is not None
    assert canonical([value["count"], value["numbers"]]) == canonical([3, [100]])


def test_long_values_are_cut_in_messages() -> None:
    assert _changed(count="x" * 500) == [f'count: must be a whole number, got "{"x" * 40}…"']


def test_five_million_characters_are_read() -> None:
    text = "x" * 4_900_000
    assert read_contract(json.dumps({"a": text}), {"a": FieldSpec()}) == ({"a": text}, [])


def test_more_than_five_million_characters_are_refused() -> None:
    assert _problems('{"a": "' + "x" * 5_000_000 + '"}') == [
        "the text has 5000009 characters; at most 5000000 are read"
    ]


@pytest.mark.parametrize("depth", [101, 200, 100_000])
@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_deep_nesting_is_refused(depth: int, opening: str) -> None:
    closing = "}" if opening[0] == "{" else "]"
    answer = '{"a": ' + opening * depth + "1" + closing * depth + "}"
    assert _problems(answer, {"a": FieldSpec(type="object")}) == ["the JSON has more than 100 levels"]


def test_ninety_levels_are_read_and_written() -> None:
    text = '{"a":' * 90 + "{}" + "}" * 90
    value, problems = read_contract(text, {"a": FieldSpec(type="object")})
    assert problems == []
    assert json.loads(canonical(value)) == json.loads(text)


def test_a_flood_of_unknown_fields_is_summed_up() -> None:
    problems = _problems(json.dumps({f"k{i}": 1 for i in range(10_000)}), {"a": FieldSpec(optional=True)})
    assert len(problems) == 51
    assert problems[-1] == "the object: 9950 more unknown fields"


def test_the_canonical_text_is_readable_and_keeps_every_character() -> None:
    assert canonical({"b": "Größe 🎉\n", "a": [1, None]}) == (
        '{\n  "b": "Größe 🎉\\n",\n  "a": [\n    1,\n    null\n  ]\n}'
    )


def test_the_schema_says_what_the_contract_says() -> None:
    fields = {
        "title": FieldSpec(description="Heading"),
        "colour": FieldSpec(choices=["red"], optional=True),
        "claims": FieldSpec(
            type="list[object]", minimum=1, maximum=4.5, fields={"n": FieldSpec(type="int", minimum=0)}
        ),
    }
    assert json_schema(fields) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": "Heading"},
            "colour": {"type": ["string", "null"], "enum": ["red", None]},
            "claims": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"n": {"type": "integer", "minimum": 0}},
                    "required": ["n"],
                    "additionalProperties": False,
                },
                "minItems": 1,
                "maxItems": 4,
            },
        },
        "required": ["title", "claims"],
        "additionalProperties": False,
    }


def test_the_instructions_name_every_field_and_its_demands() -> None:
    assert instructions(
        {
            "title": FieldSpec(description="Heading\n  of the brief"),
            "colour": FieldSpec(choices=["red", "green"], optional=True),
            "claims": FieldSpec(
                type="list[object]", minimum=1, maximum=5, fields={"source": FieldSpec(description="Place")}
            ),
        }
    ) == (
        "Answer with one JSON object and nothing else: no text before or after it, no code fence. "
        "It has these fields and no others:\n"
        '- "title": a text; required. Heading of the brief\n'
        '- "colour": one of "red", "green"; null when there is none.\n'
        '- "claims": a list of objects; at least 1 entry; at most 5 entries; with the fields below; required.\n'
        '  - "source": a text; required. Place'
    )


def test_asking_again_shows_at_most_twenty_problems_and_demands_the_whole_answer() -> None:
    message = ask_again([f"problem {i}" for i in range(23)])
    assert message.startswith("Your answer was not accepted:\n- problem 0\n")
    assert "- problem 19\n- and 3 more\n\nGive the complete answer again" in message


_NAMES = st.sampled_from(["a", "b", "c"])
_BOUND = st.none() | st.integers(-2, 4).map(float) | st.sampled_from([0.5, 2.5])
_CHOICES = st.none() | st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, unique=True)
_KINDS = st.sampled_from(["str", "int", "float", "bool", "list[str]", "list[int]", "list[float]"])
_PLAIN = st.builds(FieldSpec, type=_KINDS, optional=st.booleans(), choices=_CHOICES, minimum=_BOUND, maximum=_BOUND)


def _holder(inner: st.SearchStrategy[FieldSpec]) -> st.SearchStrategy[FieldSpec]:
    fields = st.none() | st.dictionaries(_NAMES, inner, max_size=3)
    kinds = st.sampled_from(["object", "list[object]"])
    return st.builds(FieldSpec, type=kinds, optional=st.booleans(), fields=fields, minimum=_BOUND, maximum=_BOUND)


_SPEC = st.recursive(_PLAIN, _holder, max_leaves=6)
_CONTRACT = st.dictionaries(_NAMES, _SPEC, max_size=3)
_SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.sampled_from([0.5, 2.0, -1.5, 1e300, 10**400])
    | st.sampled_from(["x", "y", "3", ""])
    | st.text(max_size=3)
)
_JSON = st.recursive(
    _SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES | st.text(max_size=2), inner, max_size=3),
)


@st.composite
def _fitting(draw: st.DrawFn, fields: dict[str, FieldSpec]) -> dict[str, object]:
    """Draw an object that mostly fits, so that acceptance is tried as often as refusal."""
    value: dict[str, object] = {}
    for name, spec in fields.items():
        if draw(st.integers(0, 9)) < 9:
            value[name] = draw(_fitting_value(spec))
    more = st.dictionaries(_NAMES | st.text(max_size=2), _JSON, max_size=1)
    return value | (draw(more) if draw(st.integers(0, 4)) == 0 else {})


@st.composite
def _fitting_value(draw: st.DrawFn, spec: FieldSpec) -> object:
    if draw(st.integers(0, 14)) == 0:
        return draw(_JSON)
    if spec.optional and draw(st.booleans()):
        return None
    kind = spec.type.removeprefix("list[").removesuffix("]")
    singles: dict[str, st.SearchStrategy[Any]] = {
        "str": st.sampled_from(spec.choices) if spec.choices else st.text(max_size=3),
        "int": st.integers(-2, 5) | st.sampled_from([1.0, 2.0]),
        "float": st.floats(-3, 5) | st.integers(-2, 5),
        "bool": st.booleans(),
        "object": _fitting(spec.fields or {}),
    }
    single = singles[kind]
    return draw(st.lists(single, max_size=4) if spec.type.startswith("list[") else single)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_value_is_accepted_exactly_when_its_json_schema_accepts_it(data: st.DataObject) -> None:
    fields = data.draw(_CONTRACT)
    value = data.draw(_fitting(fields) | st.dictionaries(_NAMES, _JSON, max_size=3))
    validator: Any = Draft202012Validator
    validator.check_schema(json_schema(fields))
    accepts: Callable[[object], bool] = validator(json_schema(fields)).is_valid
    read, problems = read_contract(json.dumps(value), fields)
    assert (problems == []) == accepts(value), (fields, value, problems)
    if read is not None:
        assert accepts(read)
        assert read_contract(canonical(read), fields) == (read, [])


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=[])) | st.text('{}[]":,\\ntrue1.e-', max_size=60))
def test_no_answer_raises(text: str) -> None:
    value, problems = read_contract(text, _FIELDS)
    assert (value is None) == bool(problems)
