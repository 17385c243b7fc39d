"""Rules that need no model, each with texts that pass and texts that fail."""

import pytest

from project.errors import AppError
from project.spec import FieldSpec
from tasks.guardrails import check_rule
from tasks.pattern import search


def _nowhere(place: str) -> str | None:
    return None


def _check(rule: str, setting: object, text: str) -> list[str]:
    return check_rule(rule, setting, text, _nowhere)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("Summary", "# summary\nText"),
        ("Summary", "## 1. Summary:\nText"),
        ("Summary", "### 2.3 **Summary** ##\r\n\r\nText"),
        ("Summary", "Summary\n=======\nText"),
        ("Summary", "Section 4: Summary\n---\nText"),
        ("Summary", "## IV. 🎯 Summary\nText"),
        ("What it is", "# What it is?\n## Below it\nText"),
        ("3. Summary", "# Summary\n| a |\n|---|"),
        ("Zusammenfassung – kurz", "# ZUSAMMENFASSUNG - KURZ\n```\ncode\n```"),
        ("概要", "# 1. 概要\n文"),
        ("Sources", "# Sources\n- a.md"),
        ("Gaps", "# Gaps\n_Offline: nothing was found._"),
        ("Summary", "```markdown\n# Summary\nText\n```"),
    ],
)
def test_a_required_section_is_found_whatever_its_case_numbering_and_marks(wanted: str, text: str) -> None:
    assert _check("required_sections", [wanted], text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", 'section "Risks" is missing; the text has no Markdown headings; write it below "## Risks"'),
        ("**Risks**\nText", 'section "Risks" is missing; the text has no Markdown headings; write it below "## Risks"'),
        ("#Risks\nText", 'section "Risks" is missing; the text has no Markdown headings; write it below "## Risks"'),
        (
            "Text\n```\n# Risks\n```",
            'section "Risks" is missing; the text has no Markdown headings; write it below "## Risks"',
        ),
        ("# Risk\nx", 'section "Risks" is missing; is "Risk" meant? The heading must read "Risks"'),
        ("# Summary\nx\n# Outlook\nx", 'section "Risks" is missing; the headings are: Summary, Outlook'),
        ("# Risks\n\n# Summary\nx", 'section "Risks" is empty; write it'),
        ("# Risks\n## Great ones\n---\n# Summary\nx", 'section "Risks" is empty; write it'),
    ],
)
def test_a_section_that_is_missing_or_empty_is_named(text: str, reason: str) -> None:
    assert _check("required_sections", ["Risks"], text) == [reason]


def test_every_missing_section_is_named() -> None:
    assert len(_check("required_sections", ["A", "B", "C"], "# B\ntext")) == 2


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, ""),
        (0, "\r\n — 🎉 ... --- \n***"),
        (3, "one two-and three's"),
        (3, "# 1.5 Two three"),
        (2, "- one\n  1. two"),
        (2, "one—two"),
        (2, "one two [a.md:3] [b.pdf p.4; c.md:1-2]"),
        (4, "one two [a note]"),
        (2, "one two\n\n_Offline: no language model is configured._"),
        (3, "one two\n## Sources\n| file | lines |\n|---|---|\n| a.md | 12 |\n- b.md"),
        (2, "one two\n\n| Source | Lines |\n|---|---|\n| a.md | 12 |"),
        (6, "one two\n\n| Year | Homes |\n|---|---|\n| 2020 | 12 |"),
        (3, "```py\none two three\n```"),
        (4, "東京は犬"),
        (2, "हिन्दी भाषा"),
        (3, "три слова здесь"),
        (1, "don’t"),
    ],
)
def test_words_are_counted_without_citations_marks_notes_and_sources(count: int, text: str) -> None:
    said = f"the text has {count} word{'s' * (count != 1)}, citations and sources not counted"
    assert _check("words", {"min": count, "max": count}, text) == []
    assert _check("words", {"min": count + 2}, text) == [f"{said}; at least {count + 2} are needed, 2 more"]
    if count:
        assert _check("words", count - 1, text) == [f"{said}; at most {count - 1} are allowed, 1 fewer"]


@pytest.mark.parametrize(
    "text",
    [
        "The sun is very warm. The moon is very cold.",
        "Yes. Yes. Yes.",
        "# The sun is very warm\nThe sun is very warm.",
        "The grid of the country grew by 4% in 2020.\nThe grid of the country grew by 5% in 2021.",
        "Hydrogen made from wind power is cheap today.\nHydrogen made from wind power is not cheap today.",
        "The pipes of the old town are leaking badly.\nThe pipes of the old town aren't leaking badly.",
        "| the same row of words |\n| the same row of words |",
        "## Sources\n- the same file of words\n- the same file of words",
        "```\nthe same line of code\nthe same line of code\n```",
    ],
)
def test_sentences_that_differ_are_no_repeats(text: str) -> None:
    assert _check("no_repeats", True, text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "The sun is warm. The SUN is *warm* [a.md:3]!",
            'line 1: "The SUN is *warm* !" repeats the same line; say it once',
        ),
        (
            "The sun is warm.\r\n\r\n- Cold.\r\n- the sun – is warm",
            'line 4: "the sun – is warm" repeats line 1; say it once',
        ),
        (
            "Hydrogen from wind power is quite cheap today.\nToday hydrogen is quite cheap, from wind power.",
            'line 2: "Today hydrogen is quite cheap, from wind power." says nearly the same as line 1; say it once',
        ),
        (
            "太陽はとても暖かい。太陽はとても暖かい。",
            'line 1: "太陽はとても暖かい。" repeats the same line; say it once',
        ),
    ],
)
def test_a_repeated_sentence_is_named_with_the_earlier_one(text: str, reason: str) -> None:
    assert _check("no_repeats", True, text) == [reason]


def test_repeats_are_reported_in_the_order_of_the_text() -> None:
    text = (
        "Hydrogen from wind power is quite cheap today.\nToday hydrogen is quite cheap, from wind power.\n"
        "The sun is warm.\nThe sun is warm."
    )
    assert [reason.split(":")[0] for reason in _check("no_repeats", True, text)] == ["line 2", "line 4"]


@pytest.mark.parametrize(
    "found",
    [
        "TODO",
        "TBD",
        "FIXME",
        "XXX",
        "Lorem ipsum",
        "[insert name here]",
        "[Insert date]",
        "[your company]",
        "[Name]",
        "[citation needed]",
        "<placeholder>",
        "<your name>",
        "<Company Name>",
        "{name}",
        "{{ topic }}",
        "As an AI language model",
        "as an AI,",
        "As a large language model",
        "I am an AI assistant",
    ],
)
def test_a_placeholder_is_named_with_its_line(found: str) -> None:
    assert _check("no_placeholders", True, f"# Title\r\n- so {found} it is 🎉") == [
        f'line 2: "{found}" is a placeholder; put in what belongs there, or leave it out'
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Todo lo que es, y todos.",
        "The list [a.md:3] and the link [name](http://x.org) and [date][1].",
        "Press `<your name>` or write `{name}` into the `TODO` file.",
        "So:\n```\nf'{name}' < List<str> >\n```",
        "It is <b>warm</b><br> and <https://x.org> and <a@b.org> and 3 < 4 > 2.",
        r"The law is \frac{a}{b} and x_{i} and e^{n}.",
        "She works as an AI engineer; it serves as an AI system.",
        "He said that [...] it is so.",
        "JSON such as {} or {1, 2}.",
        "_Offline: {name} is not configured._",
    ],
)
def test_what_only_looks_like_a_placeholder_passes(text: str) -> None:
    assert _check("no_placeholders", True, text) == []


def test_a_task_left_in_code_is_a_placeholder() -> None:
    assert len(_check("no_placeholders", True, "```py\n# TODO: the rest\n```")) == 1


@pytest.mark.parametrize("text", ['{"a": [1, null]}', "[]", '"text"', "3", ' {"a": "🎉"}\r\n'])
def test_a_json_document_passes(text: str) -> None:
    assert _check("valid_json", True, text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1, column 1: the JSON is not finished: Expecting value"),
        ('{"a": 1,\n b}', 'line 2, column 2: not JSON: Expecting property name enclosed in double quotes, at "b}"'),
        ('{"a": 1} and more', "line 1, column 9: something follows after the end of the JSON"),
        ('```json\n{"a": 1}\n```', "the JSON stands in a code fence; give it bare"),
        ('{"a": 1, "a": 1}', 'the key "a" stands twice in one object'),
        ('{"a": NaN}', "NaN is not JSON; null says that there is no value"),
    ],
)
def test_what_is_not_a_json_document_is_named_with_its_place(text: str, reason: str) -> None:
    assert _check("valid_json", True, text) == [reason]


def test_under_a_contract_json_must_keep_it() -> None:
    contract = {"a": FieldSpec(type="int")}
    assert check_rule("valid_json", True, '{"a": 1}', _nowhere, contract=contract) == []
    assert check_rule("valid_json", True, '{"a": "1"}', _nowhere, contract=contract) == [
        'a: must be a whole number, got "1"'
    ]


@pytest.mark.parametrize("pattern", ["^## Risks$", r"\d{4}", "(?i)RISKS", "ri.ks|x+"])
def test_a_pattern_is_searched_at_every_line(pattern: str) -> None:
    assert _check("matches", pattern, "# Title\n## Risks\nrisks of 2020") == []


@pytest.mark.parametrize("pattern", ["^Risks$", r"\d{5}"])
def test_a_pattern_that_is_not_found_is_shown(pattern: str) -> None:
    assert _check("matches", pattern, "# Title\n## Risks\nrisks of 2020") == [
        f"nothing in the text matches the regular expression {pattern!r}; it must"
    ]


def test_a_pattern_that_backtracks_for_ever_is_given_up() -> None:
    assert search("(a+)+$", "a" * 60 + "b", timeout_seconds=0.5) == (
        "the search for '(a+)+$' took more than 0.5 s; write a pattern that backtracks less"
    )


def test_a_pattern_reads_every_character_and_line_end() -> None:
    assert _check("matches", "🎉\\s+é+", "a 🎉\r\n éé") == []


@pytest.mark.parametrize(
    ("phrases", "text"),
    [
        (["leverage"], "We LEVERAGE it"),
        (["state of the art"], "The State  of\tthe art is old"),
        (["straße"], "DIE STRASSE"),
        (["überblick"], "Der U\u0308berblick"),
        (["c++"], "Written in C++, say"),
        (["猫"], "私の猫です"),
        (["слово"], "Это СЛОВО, да"),
        (["leverage"], "| we | leverage |\n|---|---|"),
        (["state of the art"], "Whatever people may say of it nowadays, it is the state\nof the art"),
        (["🎉"], "party🎉time"),
    ],
)
def test_a_forbidden_word_is_found_whatever_its_case(phrases: list[str], text: str) -> None:
    assert _check("forbidden_words", phrases, text) == [
        f'line 1: the word "{phrases[0]}" is forbidden; say it in another way'
    ]


@pytest.mark.parametrize(
    ("phrases", "text"),
    [
        (["art"], "a party, artful and smart"),
        (["leverage"], "As written [leverage.md:3]"),
        (["a.b"], "axb"),
        (["state of the art"], "state\n\nof the art"),
        (["model"], "_Offline: no language model is configured._"),
    ],
)
def test_a_part_of_a_word_a_citation_or_the_offline_note_is_not_forbidden(phrases: list[str], text: str) -> None:
    assert _check("forbidden_words", phrases, text) == []


def test_each_line_with_a_forbidden_word_is_named() -> None:
    assert _check("forbidden_words", ["foo", "bar"], "foo bar\r\nx\rbar\n") == [
        'line 1: the word "foo" is forbidden; say it in another way',
        'line 1: the word "bar" is forbidden; say it in another way',
        'line 3: the word "bar" is forbidden; say it in another way',
    ]


def test_under_a_contract_the_texts_in_its_fields_are_judged() -> None:
    contract = {"foo": FieldSpec(), "body": FieldSpec(), "list": FieldSpec(type="list[str]")}
    text = '{"foo": "x", "body": "# Risks\\nText", "list": ["a", "foo"]}'
    assert check_rule("required_sections", ["Risks"], text, _nowhere, contract=contract) == []
    assert check_rule("words", {"min": 5, "max": 5}, text, _nowhere, contract=contract) == []
    assert check_rule("forbidden_words", ["foo"], text, _nowhere, contract=contract) == [
        'list[1]: the word "foo" is forbidden; say it in another way'
    ]


def test_under_a_contract_a_broken_object_is_judged_as_text() -> None:
    contract = {"a": FieldSpec()}
    assert len(check_rule("forbidden_words", ["foo"], '{"a": "foo"', _nowhere, contract=contract)) == 1


@pytest.mark.parametrize(
    ("rule", "setting", "what"),
    [
        ("wrods", 3, "unknown rule 'wrods'"),
        ("words", "3", "rule words: must be a whole number"),
        ("cited", False, "rule cited: must be true, got false"),
        ("matches", "(", "rule matches: is not a regular expression"),
        ("forbidden_words", [], "rule forbidden_words: must be a list of texts"),
    ],
)
def test_an_unknown_rule_or_a_wrong_setting_is_the_projects_mistake(rule: str, setting: object, what: str) -> None:
    with pytest.raises(AppError) as caught:
        _check(rule, setting, "text")
    assert str(caught.value).startswith(what)
    assert caught.value.exit_code == 3


def test_more_than_a_million_characters_are_not_judged() -> None:
    assert _check("words", 5, "x" * 1_000_001) == [
        "the text has 1000001 characters; rules read at most 1000000, so shorten it"
    ]
