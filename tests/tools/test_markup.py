"""Markup off, sentences apart, and the form in which a quotation is compared with its source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pace import cpu_of
from tools.markup import normalise, printable, sentences, strip_markup


def texts(text: str) -> list[str]:
    return [sentence for _, _, sentence in sentences(text)]


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("**Bold** and *italic* and ***both***", "Bold and italic and both"),
        ("__bold__ and _italic_, but snake_case_name", "bold and italic, but snake_case_name"),
        ("2*3*4 and 2 * 3 * 4", "2*3*4 and 2 * 3 * 4"),
        ("a [link](https://a.example/x_(y)) and ![alt](p.png)", "a link and alt"),
        ("[![badge](b.svg)](https://a.example)", "badge"),
        ("see [text][ref] but arr[i][j]", "see text but arr[i][j]"),
        ("a note[^1] and <https://a.example>", "a note and https://a.example"),
        ("`**kwargs` and `__init__` and ``a`b``", "**kwargs and __init__ and ``a`b``"),
        ("x<br>y <b>z</b> but a <c and d> e", "x y z but a <c and d> e"),
        (r"\*not italic\* ~~gone~~", "*not italic* gone"),
    ],
)
def test_inline_markup_is_stripped_and_what_only_looks_like_it_stays(marked: str, plain: str) -> None:
    assert strip_markup(marked) == plain


@given(st.text(alphabet='ab[]()*_`~<br>!\\^\n" :/', max_size=80))
def test_stripping_markup_keeps_the_number_of_lines(text: str) -> None:
    assert strip_markup(text).count("\n") == text.count("\n")


def test_a_sentence_ends_at_a_stop_before_a_capital() -> None:
    assert texts("One is here. Two is there! Is three? (Four.) Yes.") == [
        "One is here.",
        "Two is there!",
        "Is three?",
        "(Four.)",
        "Yes.",
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "Dr. Smith met J. Doe at 5 p.m. sharp.",
        "It costs 3.50 EUR, e.g. At the door.",
        "See Fig. 3 and No. 5 for more.",
        "1. First of all things.",
        "Das gilt z. B. Montags.",
    ],
)
def test_an_abbreviation_ends_no_sentence(sentence: str) -> None:
    assert texts(sentence) == [sentence]


def test_an_ordinary_word_that_is_also_an_abbreviation_ends_one() -> None:
    assert texts("The answer was no. They left in 1999. Then it rained.") == [
        "The answer was no.",
        "They left in 1999.",
        "Then it rained.",
    ]


def test_chinese_sentences_need_no_space_between_them() -> None:
    assert texts("太阳很亮。月亮不亮！") == ["太阳很亮。", "月亮不亮！"]


def test_a_sentence_over_several_lines_knows_its_first_and_last() -> None:
    assert list(sentences("One two\nthree. Four\nfive\nsix. Seven.")) == [
        (0, 1, "One two three."),
        (1, 3, "Four five six."),
        (3, 3, "Seven."),
    ]


def test_a_very_long_sentence_comes_in_pieces_that_hold_all_its_words() -> None:
    long = " ".join(f"word{number}" for number in range(400))
    pieces = texts(long)
    assert all(len(piece) <= 600 for piece in pieces)
    assert " ".join(pieces) == long


@given(st.text(max_size=300))
def test_sentences_hold_every_word_of_any_text_in_order(text: str) -> None:
    assert "".join("".join(texts(text)).split()) == "".join(printable(text).split())


@pytest.mark.parametrize(
    ("quoted", "source"),
    [
        ("“Fine,” she said – twice", '"fine," she said - twice'),
        ("**An** [agent](x.md) has  a\nrole", "an agent has a role"),
        ("soft\u00adhyphen and\u00a0space", "softhyphen and space"),
        ("ﬁne", "fine"),
    ],
)
def test_a_quotation_compares_equal_to_its_source_in_other_dress(quoted: str, source: str) -> None:
    assert normalise(quoted) == normalise(source)


def test_a_changed_word_does_not_compare_equal() -> None:
    assert normalise("It must stop.") != normalise("It may stop.")


@pytest.mark.parametrize(
    "piece", [".", "[", "[a](", "*a ", "`", "<b", "![", "_a ", "(", '"', "[[", "](", "\\", "a. ", "。"]
)
def test_hostile_repetition_costs_no_more_than_its_length(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    assert cpu_of(lambda: (normalise(text), list(sentences(text)))) < 250  # quadratic would be thousands
