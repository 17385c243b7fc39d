"""The rule `supported`: what has a source passes in whatever format, what has none is named."""

from pathlib import Path

import pytest

from benchmarks.gates import measure
from project.spec import FieldSpec
from tasks.evidence import KINDS, Evidence, support_of
from tasks.guardrails import check_rule

BACKGROUND = sorted((Path(__file__).parents[2] / "docs" / "background").glob("*.md"))
FOUND = Evidence(
    "1",
    "search_documents",
    "Revenue rose 12 % to $3.5 million in 2025. The board met on March 1, 2026 at 14:30. Jane Doe (Acme Corp.) said: "
    "“We will not stop until it works.” There are 1,250 users, 4,612,300 rows and fourteen sites. Margin 0.064. Rates "
    "fell from 3 to 4 million in the seventies, or 21 cents each; the order is INV-20391, from 03.04.1998 at 12,4 Mio. "
    "See https://acme.example/a/b?x=1 for the quali-\nty of paper used.",
    '{"query": "9999 Zed Zebra"}',
)


def _check(text: str, setting: object = True, *evidence: Evidence) -> list[str]:
    return check_rule("supported", setting, text, lambda _: None, evidence=evidence or (FOUND,))


@pytest.mark.parametrize(
    "text",
    [
        "Revenue was $3.5M, USD 3.5m, 3,500,000 dollars, 3.5 million, 3500 thousand.",
        "It rose by 12%, 12 percent, 12 per cent, twelve percent, 12.0 %.",
        "There are 1250, 1,250, 1 250, 1.250, 1'250, 1.25k or 1.25 thousand users.",
        "There are about 4.6 million rows, roughly 4,600,000, more than 4.6m.",
        "The margin is 6.4 %, 6.4 percent.",
        "There are 14 sites, fourteen in all.",
        "In the 1970s it was 3 million to 4 million, at €0.21 each.",
        "Revenue was 12.4 million on 3 April 1998, order INV-20391.",
        "On 2026-03-01, March 1, 2026, 1 March 2026, 01.03.2026, 1st of March 2026, 3/1/2026, Mar 1 and in March 2026.",
        "They met at 2:30 pm, that is 14:30, in 2025 or 2026.",
        "See section 4.2, table 7, figures 3 and 9, step 8, Q3, the 2nd, the 21st century, [14], v2.1.3, GPT-4 and 24/7.",
        "There are two of three, one of ten.",
        "There are 3 risks:\n- cost\n- delay\n- scope",
        "| No. | Risk |\n|---|---|\n| 1 | cost |\n| 2 | delay |\n| 3 | scope |",
        "# 7. Results\n\nText.",
        "As noted [report.md:99; b.pdf p.77].",
        "Run `python3 -c 'x = 99'` on report_99.md or 77-plan.csv.",
        "So:\n\n```\nx = 99999\n```",
    ],
)
def test_numbers_and_dates_are_compared_by_value(text: str) -> None:
    assert _check(text) == []


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("It rose by 13 %.", "the number 13 %"),
        ("It rose by thirteen percent.", "the number thirteen percent"),
        ("There are 1,520 users.", "the number 1,520"),
        ("Revenue was $5.3M.", "the number 5.3M"),
        ("There are about 4.7 million rows.", "the number 4.7 million"),
        ("It goes with 99 lines.", "the number 99"),
        ("There are 4.6 rows.", "the number 4.6"),
        ("They met on 1 April 2026.", "the date 1 April 2026"),
        ("They met on 2026-03-11.", "the date 2026-03-11"),
        ("From March 1 to 3, 2026 they met.", "the date March 1 to 3, 2026"),
        ("It is up to 22 m/s in FY2025.", "the number 22 m"),
        ("The card is an H200.", "H200"),
        ("They met at 14:45.", "the time 14:45"),
        ("There are 7 risks:\n- cost\n- delay\n- scope", "the number 7"),
        ("The order is INV-20931.", "INV-20931"),
        ("There are 9999 of them.", "the number 9999"),
    ],
)
def test_a_number_or_date_that_no_source_has_is_named(text: str, written: str) -> None:
    what = "date" if "date" in written else "number"
    mend = f"give the {what} that was found, or leave it out"
    assert _check(text) == [f"line 1: {written} does not occur in the evidence; {mend}"]


def test_a_computed_number_is_supported_when_a_tool_returned_it() -> None:
    text = "That is $280 for each user a year."
    assert len(_check(text)) == 1
    assert _check(text, True, FOUND, Evidence("2", "calculator", "2800", '{"expression": "280"}')) != []
    assert _check(text, True, FOUND, Evidence("2", "calculator", "280", '{"expression": "350000/1250"}')) == []


@pytest.mark.parametrize(
    "text",
    [
        'She said "we will not stop until it works."',
        "She said: „We will  NOT stop – until it works”.",
        "She said ‘We will not stop until it works,’ and left.",
        'She said "We will … until it works" and "We will [definitely] not stop".',
        "> We will not stop until it works.\n> — Jane Doe",
        'The "quality of paper used" counts.',
        'It is a "best effort" and a "so-called plan".',
        "> In short, this is a callout and no quotation",
    ],
)
def test_quotations_that_were_read_pass(text: str) -> None:
    assert _check(text, ["quotes"]) == []


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ('She said "we will never stop until it works".', "we will never stop until it works"),
        ("She wrote: “This cannot go on”.", "This cannot go on"),
        ("She said 'We will stop when it works' and left.", "We will stop when it works"),
        ('She said "it works until … we will not stop".', "it works until … we will not stop"),
        ("As Jane Doe said:\n\n> We have stopped since it works.", "We have stopped since it works."),
    ],
)
def test_a_forged_quotation_is_named(text: str, quote: str) -> None:
    (reason,) = _check(text, ["quotes"])
    assert reason.split(": ", 1)[1] == (
        f'the quoted words "{quote}" do not occur in the evidence; '
        "quote word for word what was read, or say it without quotation marks"
    )


@pytest.mark.parametrize(
    ("url", "held"),
    [
        ("https://acme.example/a/b?x=1", True),
        ("http://www.acme.example/a/b?x=1/", True),
        ("https://ACME.example/a/b?x=1#part", True),
        ("https://acme.example/", True),
        ("https://acme.example/a", False),
        ("https://acme.example/a/b?x=12", False),
        ("https://me.example/a/b?x=1", False),
        ("https://other.example", False),
    ],
)
def test_addresses_are_compared_without_scheme_fragment_and_last_slash(url: str, held: bool) -> None:
    assert (_check(f"Look at <{url}>, or ([here]({url})).", ["urls"]) == []) is held


def test_an_address_in_a_list_of_sources_is_judged_too() -> None:
    assert len(_check("Text.\n\n## Sources\n\n1. https://other.example/x, 2019", True)) == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("It was Dr. Jane Doe of Acme Corp who said so, Ms. Doe's words.", None),
        ("**Next Steps:** none. In March the board met Jane Doe.", None),
        ("# New Ways Forward\n\nText.", None),
        ("Executive Summary of Findings", None),
        ("Then John Smith came.", "John Smith"),
        ("John Smith came.", "John Smith"),
        ("They work for Beta Systems Ltd.", "Beta Systems Ltd"),
        ("| Who | What |\n|---|---|\n| John Smith | came |", "John Smith"),
        ("They asked Zed Zebra.", "Zed Zebra"),
    ],
)
def test_names_of_several_words_must_occur(text: str, name: str | None) -> None:
    reasons = [reason.split(": ", 1)[1] for reason in _check(text, ["names"])]
    mend = "keep to the names that were found, as they were found"
    assert reasons == ([] if name is None else [f'the name "{name}" does not occur in the evidence; {mend}'])


def test_only_the_kinds_that_are_asked_for_are_judged() -> None:
    text = 'On 2020-01-02 John Smith of https://x.example said "we lost 99 of our trains".'
    assert [len(_check(text, [kind])) for kind in KINDS] == [1, 1, 1, 1, 1]
    assert len(_check(text)) == 5


def test_under_a_contract_the_field_is_named() -> None:
    contract = {"claims": FieldSpec(type="list[str]")}
    text = '{"claims": ["Revenue rose by 12 %.", "Costs rose by 13 %."]}'
    (reason,) = check_rule("supported", True, text, lambda _: None, contract=contract, evidence=[FOUND])
    assert reason.startswith("claims[1]: the number 13 % ")


def test_support_is_counted_for_confidence() -> None:
    support = support_of(
        'Revenue rose 12 % to $3.5M, said Jane Doe; "we will not stop until it works". 77 left.', [FOUND]
    )
    assert (support.claims, support.supported, len(support.unsupported)) == (5, 4, 1)
    assert support_of("Nothing to look up.", []).claims == 0
    assert support_of("There are 77.", []).supported == 0


def test_evidence_in_json_is_read_without_its_escapes() -> None:
    evidence = Evidence(
        "1", "get", '{"a": "said \\"we\\u2019ll see\\nabout that\\"", "url": "https:\\/\\/x.example\\/y"}'
    )
    assert _check('They said "we’ll see about that" at https://x.example/y.', True, evidence) == []


@pytest.mark.parametrize("path", BACKGROUND, ids=lambda path: path.stem)
def test_the_projects_own_texts_are_supported_by_themselves(path: Path) -> None:
    text = path.read_text()
    assert BACKGROUND
    assert _check(text, True, Evidence("1", "read_document", text)) == []
    assert check_rule("claimed_calls", True, text, lambda _: None) == []
    assert check_rule("no_personal_data", True, text, lambda _: None) == []


@pytest.mark.parametrize("half", [0, 1])
def test_planted_defects_are_caught_without_false_alarms(half: int) -> None:
    score = measure(half, seed=1)
    assert score.planted.total() == score.true.total() == 100
    assert score.rate() >= 0.95
    assert score.alarm_rate() <= 0.02
