"""Contracts: filled with what the sources say, or honestly refused."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.offline.respond import NEEDS_MODEL
from project.spec import FieldSpec
from tasks.contracts import json_schema, read_contract
from tests.offline.talk import BACKGROUND, a_task, talk

SEARCH = ("search_documents",)
TEXT: dict[str, Any] = {"type": "string"}


def contract(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def fill(schema: dict[str, Any], topic: str = "durable execution", **inputs: Any) -> str:
    return talk(a_task("Fill in the fields.", inputs={"topic": topic, **inputs}, contract=schema), *SEARCH).answer()


def filled(schema: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    value = json.loads(fill(schema, **inputs))
    jsonschema.validate(value, schema)
    return value


def test_a_claim_and_its_source_come_from_the_same_passage() -> None:
    entry = contract({"claim": TEXT, "source": TEXT})
    found = filled(contract({"claims": {"type": "array", "items": entry, "minItems": 3, "maxItems": 4}}))["claims"]
    assert 3 <= len(found) <= 4
    for one in found:
        path, line = one["source"].split(":")
        assert one["claim"] in (BACKGROUND / path).read_text().splitlines()[int(line) - 1]


def test_texts_end_with_their_citation() -> None:
    summary = filled(contract({"summary": TEXT}))["summary"]
    assert summary.startswith("Durable execution is a way")
    assert summary.endswith(" [durable-execution.md:4]")


def test_a_field_that_names_a_kind_of_statement_gets_that_kind() -> None:
    found = filled(contract({"costs": {"type": "array", "items": TEXT, "maxItems": 2}}))
    assert found["costs"][0].startswith("Durability costs one database write")


def test_the_list_of_sources_names_the_passages_that_were_used() -> None:
    texts = {"type": "array", "items": TEXT}
    found = filled(contract({"sources": texts, "findings": {**texts, "maxItems": 2}}))
    assert [f"[{cite}]" for cite in found["sources"]] == [text.split()[-1] for text in found["findings"]]


def test_what_is_given_as_input_is_filled_in() -> None:
    assert filled(contract({"topic": TEXT, "words": {"type": "integer"}}), words=300) == {
        "topic": "durable execution",
        "words": 300,
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": ["number", "null"]},
        {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        {"type": ["string", "null"], "enum": ["low", "high", None]},
        {"type": ["string", "null"], "format": "date"},
    ],
)
def test_what_the_sources_cannot_say_is_null_where_that_is_allowed(schema: dict[str, Any]) -> None:
    assert filled(contract({"summary": TEXT, "value": schema}))["value"] is None


def test_an_optional_field_that_cannot_be_known_is_left_out() -> None:
    assert "score" not in filled(contract({"summary": TEXT, "score": {"type": "number"}}, "score"))


@pytest.mark.parametrize(
    ("name", "schema", "reason"),
    [
        ("confidence", {"type": "number"}, "is of type number"),
        ("approved", {"type": "boolean"}, "is of type boolean"),
        ("risk_level", {"type": "string", "enum": ["low", "high"]}, "asks to choose"),
        ("author", TEXT, "asks for something other than a sentence"),
        ("summary", {"type": "string", "maxLength": 10}, "has no passage"),
        ("summary", {"type": "string", "pattern": "^[A-Z]{3}$"}, "asks for something other than a sentence"),
    ],
)
def test_a_required_value_that_cannot_be_known_is_refused_by_name(
    name: str, schema: dict[str, Any], reason: str
) -> None:
    answer = fill(contract({name: schema}))
    assert answer.startswith(f"{NEEDS_MODEL}: field `{name}` {reason}")


def test_a_field_deep_inside_is_named_by_its_path() -> None:
    entry = contract({"claim": TEXT, "source": TEXT, "score": {"type": "number"}})
    answer = fill(contract({"claims": {"type": "array", "items": entry, "minItems": 1}}))
    assert answer.startswith(f"{NEEDS_MODEL}: field `claims` is of type number")


def test_without_evidence_nothing_is_filled_in() -> None:
    answer = fill(contract({"summary": TEXT}), topic="quantum chemistry")
    assert answer == f"{NEEDS_MODEL}: field `summary` has no passage in the sources"


def test_more_entries_than_the_sources_have_are_refused() -> None:
    answer = fill(contract({"claims": {"type": "array", "items": TEXT, "minItems": 39}}), topic="idempotency")
    assert answer.startswith(f"{NEEDS_MODEL}: field `claims` needs 39 entries")


def test_references_and_nested_objects_are_followed() -> None:
    schema = contract({"report": {"$ref": "#/$defs/Report"}}) | {"$defs": {"Report": contract({"summary": TEXT})}}
    assert filled(schema)["report"]["summary"].startswith("Durable execution is")


def test_a_schema_that_refers_to_itself_is_refused() -> None:
    schema = contract({"node": {"$ref": "#/$defs/Node"}}) | {
        "$defs": {"Node": contract({"node": {"$ref": "#/$defs/Node"}})}
    }
    assert fill(schema).startswith(NEEDS_MODEL)


def test_a_judgement_is_refused_although_the_contract_could_be_filled() -> None:
    task = a_task("Compare the two and recommend one.", inputs={"topic": "x"}, contract=contract({"summary": TEXT}))
    assert talk(task, *SEARCH).answer().startswith(NEEDS_MODEL)


def test_a_review_in_fields_is_refused() -> None:
    schema = contract({"findings": {"type": "array", "items": TEXT}})
    task = a_task("Check the draft.", recipe="check", contract=schema, context={"draft": "# T\n\n## A\nText. [a.md:1]"})
    assert talk(task).answer().startswith(NEEDS_MODEL)


NAMES = st.sampled_from(["claim", "source", "summary", "risks", "score", "author", "steps", "title", "ok", "sources"])
TYPES = st.sampled_from(["str", "int", "float", "bool", "list[str]", "list[int]"])
LEAVES = st.builds(FieldSpec, type=TYPES, optional=st.booleans())
CHOICES = st.builds(FieldSpec, choices=st.just(["a", "b"]), optional=st.booleans())
BOUNDED = st.builds(
    FieldSpec, type=st.just("list[str]"), optional=st.booleans(), minimum=st.integers(0, 3), maximum=st.integers(3, 6)
)
SIMPLE = st.one_of(LEAVES, CHOICES, BOUNDED)
NESTED = st.builds(
    FieldSpec,
    type=st.sampled_from(["object", "list[object]"]),
    optional=st.booleans(),
    fields=st.dictionaries(NAMES, SIMPLE, min_size=1, max_size=3),
)
FIELDS = st.dictionaries(NAMES, st.one_of(SIMPLE, NESTED), min_size=1, max_size=4)
EVIDENCE = (BACKGROUND / "durable-execution.md").read_text().splitlines()
CONTEXT = "\n".join(f"- {line} [durable-execution.md:{n}]" for n, line in enumerate(EVIDENCE, 1) if line[:1].isupper())


@given(FIELDS)
@settings(max_examples=40, deadline=None)
def test_an_answer_fits_its_contract_or_is_a_refusal(fields: dict[str, FieldSpec]) -> None:
    task = a_task(
        "Fill.", inputs={"topic": "durable execution"}, context={"research": CONTEXT}, contract=json_schema(fields)
    )
    answer = talk(task).answer()
    if not answer.startswith(NEEDS_MODEL):
        assert read_contract(answer, fields)[1] == []
