"""The conditions of a rule: arguments, paths, domains, methods. For a rule that allows, and for one that denies."""

import time
from typing import Any

import pytest

from policy.decide import Call
from policy.matching import Facts, glob, make_ready
from policy.places import NOWHERE
from project.spec_policy import ArgumentSpec, RuleSpec

_NAN, _INFINITE = float("nan"), float("inf")


def fits(decide: Any, given: dict[str, Any], places: dict[str, str] | None = None, /, **rule: Any) -> bool:
    call = Call("tool", "r", "work", "writer", "tool", given, effect="send", places=places or {})
    return make_ready(RuleSpec(decide=decide, **rule), 1).why_not(Facts(call)) is None


def both(given: dict[str, Any], /, **rule: Any) -> tuple[bool, bool]:
    """Return whether a rule that allows, and one that denies, fits."""
    return fits("allow", given, **rule), fits("deny", given, **rule)


FITS, FITS_NOT, UNCLEAR = (True, True), (False, False), (False, True)
SOME = (False, True)
"""Of several, some do: too few to allow, enough to deny."""


@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        ("prod", ["prod", "test"], FITS),
        ("dev", ["prod"], FITS_NOT),
        ("Prod", ["prod"], UNCLEAR),
        (5, [5], FITS),
        (5.0, [5], FITS),
        ("5", [5], UNCLEAR),
        (5, ["5"], UNCLEAR),
        (True, [1], UNCLEAR),  # schemas read one as the other
        (1, [True], UNCLEAR),
        (0, [True], FITS_NOT),
        ("true", [True], UNCLEAR),
        ("yes", [True], UNCLEAR),
        ("no", [True], FITS_NOT),
        ("true", [1], UNCLEAR),
        ("5.0", [5], UNCLEAR),
        ("5_000", [5000], UNCLEAR),
        (" 5e3", [5000], UNCLEAR),
        ("6", [5], FITS_NOT),
        (6, [5], FITS_NOT),
        ("9" * 400, [5], FITS_NOT),
        (1767225600, ["2026-01-01"], UNCLEAR),
        (1767225600, ["prod"], FITS_NOT),
        (" prod\n", ["prod"], UNCLEAR),
        ("pro\u200bd", ["prod"], UNCLEAR),
        ("\uff50rod", ["prod"], UNCLEAR),
        ("prod" + " " * 20_000, ["prod"], UNCLEAR),
        (True, [True], FITS),
        (None, ["prod"], FITS_NOT),
        ({"a": "prod"}, ["prod"], UNCLEAR),
        (["prod", "test"], ["prod", "test"], FITS),
        (["prod", "dev"], ["prod"], SOME),
        ([["prod"]], ["prod"], UNCLEAR),
        ([], ["prod"], FITS_NOT),
    ],
)
def test_one_of_wants_the_value_itself(value: Any, wanted: list[Any], expected: tuple[bool, bool]) -> None:
    assert both({"a": value}, arguments={"a": ArgumentSpec(one_of=wanted)}) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("abc", FITS),
        ("abcd", FITS_NOT),
        ("xabc", FITS_NOT),
        ("abc\n", UNCLEAR),
        (5, UNCLEAR),
        (None, UNCLEAR),
        (["abc"], FITS),
        (["abc", "x"], SOME),
        (["x", 5], UNCLEAR),
        ({"b": "abc"}, UNCLEAR),
    ],
)
def test_a_pattern_must_match_the_whole_text(value: Any, expected: tuple[bool, bool]) -> None:
    assert both({"a": value}, arguments={"a": ArgumentSpec(pattern="ab?c")}) == expected


def test_a_text_that_is_too_long_for_a_pattern_cannot_be_told() -> None:
    spec = {"a": ArgumentSpec(pattern="a*")}
    assert both({"a": "a" * 10_000}, arguments=spec) == FITS
    assert both({"a": "a" * 10_001}, arguments=spec) == UNCLEAR


def test_no_text_keeps_a_pattern_busy_for_long() -> None:
    for pattern in (".*a.*b.*c.*d.*e", "x*x*x*x*y", r"(\w+\s?)*-", ".*,.*,.*;", "(a|a)*b"):
        began = time.thread_time()
        for length in (60, 200, 800, 9_000):
            call = Call("tool", "r", "t", "a", "tool", {"a": "a x" * (length // 3)})
            ready = make_ready(RuleSpec(decide="allow", arguments={"a": ArgumentSpec(pattern=pattern)}), 1)
            try:
                assert ready.why_not(Facts(call)) is not None
            except ValueError:
                assert pattern in (r"(\w+\s?)*-", "(a|a)*b")
        assert time.thread_time() - began < 20, pattern


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (10, FITS),
        (10.5, FITS),
        (20, FITS),
        (20.01, FITS_NOT),
        (9, FITS_NOT),
        (-(10**400), FITS_NOT),
        (10**400, FITS_NOT),
        (True, UNCLEAR),
        ("15", UNCLEAR),
        (_NAN, UNCLEAR),
        (_INFINITE, UNCLEAR),
        (-_INFINITE, UNCLEAR),
        (None, UNCLEAR),
        ([15, 16], FITS),
        ([15, 99], SOME),
    ],
)
def test_bounds_are_for_numbers_only(value: Any, expected: tuple[bool, bool]) -> None:
    assert both({"a": value}, arguments={"a": ArgumentSpec(min=10, max=20)}) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("abc", FITS), ("abcd", FITS_NOT), ([1, 2], FITS), ([1, 2, 3, 4], FITS_NOT), ([], FITS), (5, UNCLEAR)],
)
def test_a_length_is_that_of_a_text_or_a_list(value: Any, expected: tuple[bool, bool]) -> None:
    assert both({"a": value}, arguments={"a": ArgumentSpec(max_length=3)}) == expected


def test_all_arguments_must_fit_and_one_that_is_missing_never_does() -> None:
    spec = {"a": ArgumentSpec(one_of=["x"]), "b": ArgumentSpec(min=1)}
    assert both({"a": "x", "b": 2}, arguments=spec) == FITS
    assert both({"a": "x"}, arguments=spec) == FITS_NOT
    assert both({"a": "y", "b": "?"}, arguments=spec) == FITS_NOT
    assert both({"a": "x", "b": "?"}, arguments=spec) == UNCLEAR


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"order": {"amount": 5}}, FITS),
        ({"order": {"amount": 50}}, FITS_NOT),
        ({"order": {}}, FITS_NOT),
        ({"order": 5}, FITS_NOT),
        ({"order": [{"amount": 5}, {"amount": 6}]}, FITS),
        ({"order": [{"amount": 5}, {"amount": 60}]}, SOME),
        ({"order.amount": 5}, FITS),
        ({"order.amount": 5, "order": {"amount": 50}}, SOME),
    ],
)
def test_a_nested_argument_has_a_dotted_name(arguments: dict[str, Any], expected: tuple[bool, bool]) -> None:
    assert both(arguments, arguments={"order.amount": ArgumentSpec(max=10)}) == expected


def test_an_entry_of_a_list_has_its_number() -> None:
    assert both({"to": ["ann", "eve"]}, arguments={"to.0": ArgumentSpec(one_of=["ann"])}) == FITS
    assert both({"to": ["ann", "eve"]}, arguments={"to.2": ArgumentSpec(one_of=["ann"])}) == FITS_NOT


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"method": "GET"}, FITS),
        ({"method": " get "}, FITS),
        ({"method": "DELETE"}, FITS_NOT),
        ({}, FITS_NOT),
        ({"method": ["GET"]}, UNCLEAR),
        ({"method": "GЕT"}, FITS_NOT),
    ],
)
def test_methods(arguments: dict[str, Any], expected: tuple[bool, bool]) -> None:
    assert both(arguments, methods=["GET", "head"]) == expected


# -- paths


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("reports/**", ["reports", "reports/a.md", "reports/a/b.md"], ["reports2/a", "a/reports/b", "/reports/a"]),
        ("*.md", ["a.md", ".md"], ["a/b.md", "a.mdx", "a.md\n"]),
        ("**/*.md", ["a.md", "a/b/c.md"], ["a.txt", "a.md/b"]),
        ("a/*/c", ["a/b/c"], ["a/c", "a/b/b/c"]),
        ("a/**/c", ["a/c", "a/b/b/c"], ["a/bc", "c"]),
        ("/srv/**", ["/srv", "/srv/a/b"], ["srv/a", "/srv2/a", "/a/srv"]),
        ("./a?.txt", ["ab.txt"], ["a/.txt", "a.txt"]),
        ("**", ["a", "a/b"], ["/etc/passwd", "C:/x"]),
        ("/**", ["/etc/passwd", "/"], ["a"]),
        ("a+(b)[c]", ["a+(b)[c]"], ["aab"]),
    ],
)
def test_a_pattern_of_paths(pattern: str, inside: list[str], outside: list[str]) -> None:
    for place in (*inside, *outside):
        allowed = fits("allow", {}, {"path": place}, paths=[pattern])
        assert allowed is (place in inside), (place, glob(pattern))


def test_all_paths_must_fit_to_allow_and_one_is_enough_to_deny() -> None:
    places = {"source": "reports/a", "target": "/etc/a"}
    assert not fits("allow", {}, places, paths=["reports/**"])
    assert fits("allow", {}, places, paths=["reports/**", "/etc/*"])
    assert fits("deny", {}, places, paths=["/etc/**"])
    assert fits("ask", {}, places, paths=["reports/**"])
    assert not fits("deny", {}, places, paths=["/home/**"])


def test_a_pattern_for_anywhere_allows_only_inside_and_denies_everywhere() -> None:
    for place in ("/home/ann/.env", "C:/ann/.env"):
        assert not fits("allow", {}, {"path": place}, paths=["**/.env", "**"])
        assert fits("deny", {}, {"path": place}, paths=["**/.env"])
    assert fits("allow", {}, {"path": "a/.env"}, paths=["**/.env"])
    assert fits("allow", {}, {"path": "/home/ann/.env"}, paths=["/home/**/.env"])


def test_a_rule_about_paths_is_not_about_calls_without_any() -> None:
    assert both({"a": 1}, paths=["**"]) == FITS_NOT


def test_a_path_that_cannot_be_told_fits_no_rule_that_allows() -> None:
    places = {"path": NOWHERE, "other": "reports/a"}
    assert not fits("allow", {}, places, paths=["**"])
    assert fits("deny", {}, places, paths=["secrets/**"])
    assert fits("ask", {}, places, paths=["secrets/**"])


# -- domains


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com/a", FITS),
        ("https://EXAMPLE.com.:443", FITS),
        ("https://api.example.org", FITS),
        ("https://example.org", FITS_NOT),
        ("https://badexample.com", FITS_NOT),
        ("https://example.com.evil.com", FITS_NOT),
        ("https://example.com@evil.com", FITS_NOT),
        ("https://exаmple.com", FITS_NOT),
        ("https://bücher.example", FITS),
        ("https://xn--bcher-kva.example", FITS),
        ("https://example.com\\@evil.com", UNCLEAR),
        ("https://example.com%2eevil.com", UNCLEAR),
        ("http://0x7f.1/", UNCLEAR),
        ("https://10.0.0.1", FITS),
        ("https://1.10.0.0.1", UNCLEAR),
        ("https://example.com/?next=https://evil.com", SOME),
    ],
)
def test_domains(url: str, expected: tuple[bool, bool]) -> None:
    domains = ["example.com", "*.example.org", "bücher.example", "10.0.0.1"]
    assert both({"url": url}, domains=domains) == expected


def test_every_address_counts_however_deep_it_lies() -> None:
    deep = {"order": [{"notes": ["fine", {"text": "write to eve@evil.com, now"}]}], "url": "https://example.com"}
    assert both(deep, domains=["example.com"]) == SOME
    assert both(deep, domains=["*.com"]) == FITS
    assert both(deep, domains=["evil.com"]) == SOME
    assert both(deep, domains=["*"]) == FITS


def test_a_pattern_of_domains_is_never_about_numbers() -> None:
    with pytest.raises(ValueError, match=r"0\.0\.1"):
        both({"url": "https://10.0.0.1"}, domains=["*.0.0.1"])
    assert both({"url": "https://10.0.0.1"}, domains=["*.1.0.0.1"]) == FITS_NOT
