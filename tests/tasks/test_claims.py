"""The rule `cited`: every claim names its source, and the source says it."""

import pytest

from project.spec import FieldSpec
from tasks.contracts import canonical
from tasks.guardrails import check_rule

_PLACES = {
    "a.md:1": "The grid grew by 4% in 2020, the ministry said. Wind turbines supplied 12,000 homes.",
    "a.md:2": "Solar panels convert sunlight into electricity — “cheaply and reliably” — says the report.",
    "a.md:3": "Three reactors\nwere shut\n> down **for repairs** in March.",
    "b.pdf p.3": "犬が好きです。東京は日本の首都である。",
    "r.md:5": "Сеть выросла на 4 процента в 2020 году.",
    "my notes, v2.md:12-14": "Hydrogen stays expensive until the pipes are built.",
}
_ADVICE = "cite the place that says it, or keep to what the place says"


def _reasons(text: str) -> list[str]:
    return check_rule("cited", True, text, _PLACES.get)


@pytest.mark.parametrize(
    "text",
    [
        "The grid grew by 4% in 2020 [a.md:1].",
        "the grid grew by 4 % in 2020, the ministry said [a.md:1]",
        "According to the ministry [a.md:1], the grid grew by 4% in 2020.",
        "The grid grew by 4% in 2020. [a.md:1] Solar panels convert sunlight into electricity. [a.md:2]",
        "The grid grew by 4% in 2020 [a.md:1], and panels convert sunlight into electricity [a.md:2].",
        "Wind turbines gave power to 12 000 homes [a.md:1]",
        "3 reactors were shut down in March [a.md:3]",
        "Three reactors were shut down for repairs [`a.md`:3](a.md#L3)",
        "- *Solar panels* convert [sunlight](http://x.org) into `electricity` [a.md:2]",
        "  - [x] Solar panels convert sunlight into electricity [a.md:2]",
        "12. Solar panels convert sunlight into electricity [a.md:2]",
        "> Solar panels convert sunlight into electricity [a.md:2]",
        'The report says that panels work "cheaply and reliably", turning sunlight into electricity [a.md:2]',
        "Homes had wind while panels convert sunlight [a.md:1; a.md:2]",
        "Homes had wind while panels convert sunlight [a.md:1, a.md:2]",
        "The grid grew by 4% in 2020 🎉 [a.md:1]",
        "東京は日本の首都である。[b.pdf p.3]",
        "東京は日本の首都である [b.pdf, p. 3]",
        "Сеть выросла на 4 процента [r.md:5]",
        "Hydrogen stays expensive until the pipes are built [my notes, v2.md:12–14]",
        "The grid grew by 4% in 2020\n[a.md:1]",
        "The grid grew by 4% in 2020 [a.md:1 § Growth, costs; and more]",
        "Homes had wind while panels convert sunlight [a.md:1 § Wind; sun: 3; b.pdf p.3 § X; a.md:2]",
        "Homes had wind while panels convert sunlight [a.md:1-2]",
        "Homes had wind while panels convert sunlight [a.md:1,2]",
        "The grid, said the ministry that is responsible for it,\ngrew by 4% in 2020 [a.md:1]",
    ],
)
def test_a_claim_that_stands_at_its_place_passes(text: str) -> None:
    assert _reasons(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Only three words",
        "# A heading of more than four words",
        "A heading of more than four words\n---------------",
        "| one claim in a table | another |\n|---|---|\n| with rows of many words | x |",
        "| a table row of many words",
        "> Note: nothing of this was checked by anybody\n> and it goes on like this",
        "> [!WARNING]\n> nothing of this was checked by anybody",
        "_Offline: no language model is configured here._",
        "_Offline: no language model is configured here,\nand this goes on in another row._",
        "## Sources\n\n- a file that was read by somebody: a.md\n\nsome remark on all of them",
        "### 4. References:\n- a file that was read by somebody: a.md",
        "**Sources:**\n- a file that was read by somebody: a.md",
        "```python\nsome_code(with_, many, words, in_ it)\n```",
        "<!-- a remark of many words -->",
        "---",
    ],
)
def test_what_claims_nothing_needs_no_citation(text: str) -> None:
    assert _reasons(text) == []
    assert _reasons(text.replace("\n", "\r\n")) == []


@pytest.mark.parametrize(
    ("text", "label", "shown"),
    [
        ("Cats are loved by people", "line 1", "Cats are loved by people"),
        ("# T\r\n\r\nCats are loved by people", "line 3", "Cats are loved by people"),
        ("- Cats are loved by people [1]", "line 1", "Cats are loved by people [1]"),
        ("- Pets:\n    - Cats are loved by people", "line 2", "Cats are loved by people"),
        ("> Cats are loved by people", "line 1", "Cats are loved by people"),
        ("Cats are loved by [people](http://x.org)", "line 1", "Cats are loved by [people](http://x.org)"),
        ("The train leaves at [10:30] every day", "line 1", "The train leaves at [10:30] every day"),
        ("```\nCats are loved by people", "line 2", "Cats are loved by people"),
        ("```markdown\nCats are loved by people\n```", "line 2", "Cats are loved by people"),
        ("## Sources\na.md\n## End\nCats are loved by people", "line 4", "Cats are loved by people"),
        ("Cats are loved by people.\n---", "line 1", "Cats are loved by people."),
        ("猫は人に愛されています。", "line 1", "猫は人に愛されています。"),
        ("Ok " * 40, "line 1", "Ok " * 19 + "Ok…"),
    ],
)
def test_a_claim_without_a_citation_is_named_with_its_line(text: str, label: str, shown: str) -> None:
    assert _reasons(text) == [f'{label}: "{shown}" has no citation; end it with [path:line] or [path p.N]']


def test_a_cited_neighbour_does_not_cover_an_uncited_line() -> None:
    text = "Cats are loved by people\nThe grid grew by 4% in 2020 [a.md:1]\nDogs are loved as well"
    assert [reason.split(":")[0] for reason in _reasons(text)] == ["line 1", "line 3"]


def test_a_place_that_is_not_there_is_named() -> None:
    assert _reasons("The grid grew by 4% in 2020 [a.md:1; a.md:99]") == [
        'line 1: "The grid grew by 4% in 2020" cites [a.md:99], and there is no such place; cite a place that was read'
    ]


@pytest.mark.parametrize(
    ("text", "sentence", "place", "why"),
    [
        (
            "The grid grew by 5% in 2020 [a.md:1].",
            "The grid grew by 5% in 2020.",
            "[a.md:1]",
            "the number 5 does not occur there",
        ),
        (
            "The grid grew by 14 % in 2021 [a.md:1]",
            "The grid grew by 14 % in 2021",
            "[a.md:1]",
            "the numbers 14, 2021 do not occur there",
        ),
        (
            "Cats are loved by the people [a.md:1]",
            "Cats are loved by the people",
            "[a.md:1]",
            "0 of its 3 meaningful words occur there",
        ),
        (
            "The grid grew by 4% in 2020 [a.md:1]. Cats are loved by people.",
            "Cats are loved by people.",
            "[a.md:1]",
            "0 of its 3 meaningful words occur there",
        ),
        (
            "Cats are loved by people [a.md:1]. The grid grew by 4% in 2020 [a.md:1].",
            "Cats are loved by people.",
            "[a.md:1]",
            "0 of its 3 meaningful words occur there",
        ),
        (
            "The grid grew by 4% in 2020 [a.md:2; r.md:5]. Wind supplied homes [a.md:1].",
            "The grid grew by 4% in 2020.",
            "[a.md:2] [r.md:5]",
            "0 of its 2 meaningful words occur there",
        ),
        (
            'Solar panels convert sunlight "at almost no cost" into electricity [a.md:2]',
            'Solar panels convert sunlight "at almost no cost" into elect…',
            "[a.md:2]",
            'the quoted words "at almost no cost" do not occur there',
        ),
        (
            "It was all of them or more [a.md:1]",
            "It was all of them or more",
            "[a.md:1]",
            "these words do not occur there",
        ),
        (
            "東京は中国の一番大きな港町です。[b.pdf p.3]",
            "東京は中国の一番大きな港町です。",
            "[b.pdf p.3]",
            "3 of its 14 meaningful words occur there",
        ),
    ],
)
def test_a_claim_that_the_place_does_not_contain_is_named_with_what_lacks(
    text: str, sentence: str, place: str, why: str
) -> None:
    assert _reasons(text) == [f'line 1: "{sentence}" is not what {place} says: {why}; {_ADVICE}']


def test_a_sentence_without_citation_is_held_against_those_of_its_line() -> None:
    text = "The grid grew by 4% in 2020. Wind turbines supplied many homes [a.md:1]."
    assert _reasons(text) == []


def test_a_short_sentence_is_held_to_its_numbers() -> None:
    assert _reasons("The grid grew in 2020 [a.md:1]. It grew 7%. So good!") == [
        f'line 1: "It grew 7%." is not what [a.md:1] says: the number 7 does not occur there; {_ADVICE}'
    ]


def test_an_abbreviation_does_not_end_a_sentence() -> None:
    assert _reasons("Turbines, e.g. Wind turbines, supplied homes of Dr. Homes [a.md:1]") == []


def test_a_piece_of_a_word_is_not_the_word() -> None:
    reasons = check_rule("cited", True, "is it or are we [a.md:1]", {"a.md:1": "this it or are west"}.get)
    assert len(reasons) == 1


def test_each_place_is_asked_for_once() -> None:
    asked: list[str] = []

    def source(place: str) -> str | None:
        asked.append(place)
        return _PLACES.get(place)

    check_rule("cited", True, "The grid grew by 4% in 2020 [a.md:1].\n" * 3, source)
    assert asked == ["a.md:1"]


def test_no_more_than_twenty_reasons_are_given() -> None:
    reasons = _reasons("Cats are loved by people\n" * 23)
    assert len(reasons) == 21
    assert reasons[-1] == "and 3 more"


_CONTRACT = {
    "summary": FieldSpec(),
    "claims": FieldSpec(
        type="list[object]",
        optional=True,
        fields={"claim": FieldSpec(), "source": FieldSpec(), "more": FieldSpec(type="list[str]", optional=True)},
    ),
}


def _contract_reasons(value: object) -> list[str]:
    return check_rule("cited", True, canonical(value), _PLACES.get, contract=_CONTRACT)


def test_under_a_contract_a_field_of_citations_counts_for_its_neighbours() -> None:
    claim = "The grid grew by 4% in 2020"
    assert (
        _contract_reasons(
            {
                "summary": f"{claim} [a.md:1]",
                "claims": [
                    {"claim": claim, "source": "a.md:1"},
                    {"claim": claim, "source": "[a.md:1]"},
                    {"claim": claim, "source": "", "more": ["a.md:2", "[a.md:1]"]},
                ],
            }
        )
        == []
    )


def test_under_a_contract_reasons_name_the_field() -> None:
    value = {
        "summary": "Short.\n\nCats are loved by people",
        "claims": [{"claim": "Cats are loved by people", "source": "a.md:1"}],
    }
    assert _contract_reasons(value) == [
        'summary, line 3: "Cats are loved by people" has no citation; end it with [path:line] or [path p.N]',
        'claims[0].claim: "Cats are loved by people" is not what [a.md:1] says: '
        f"0 of its 3 meaningful words occur there; {_ADVICE}",
    ]
