"""The tools of the examples, called as Muster loads them."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from muster import ToolContext
from tests.examples.projects import EXAMPLES, copy_example
from tools.load import load_functions


def tools_of(project: Path) -> dict[str, Any]:
    return load_functions(project / "tools", "__muster_tool__")


def context(project: Path, key: str = "k1") -> ToolContext:
    return ToolContext(project, project / "files", idempotency_key=key)


# -- support-triage


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    return copy_example("support-triage", tmp_path / "desk").root


def test_the_cash_desk_pays_an_order_once(desk: Path) -> None:
    refund = tools_of(desk)["refund"]
    assert refund("BK-2207", "129.5", context(desk)) == "paid back 129.50 crowns for BK-2207"
    with pytest.raises(ValueError, match="BK-2207 was refunded before"):
        refund("BK-2207", "1.00", context(desk, "k2"))
    assert len((desk / "output" / "refunds.jsonl").read_text().splitlines()) == 1
    assert tools_of(desk)["find_order"]("BK-2207", context(desk))["refunded_crowns"] == "129.50"


@pytest.mark.parametrize(
    ("order", "amount", "reason"),
    [
        ("BK-2207", "129.51", "the order cost 129.50"),
        ("BK-2207", "0", "the order cost"),
        ("BK-2207", "-5", "the order cost"),
        ("BK-2207", "5.001", "at most two decimals"),
        ("BK-2207", "NaN", "no amount"),
        ("BK-2207", "all of it", "no amount"),
        ("BK-9999", "5.00", "there is no order"),
    ],
)
def test_the_cash_desk_refuses_what_is_not_owed(desk: Path, order: str, amount: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        tools_of(desk)["refund"](order, amount, context(desk))
    assert not (desk / "output").exists()


def test_the_refund_tool_is_declared_as_what_it_is(desk: Path) -> None:
    declared = tools_of(desk)["refund"].__muster_tool__
    assert (declared["effect"], declared["repeat"]) == ("spend", "once")


def test_a_ticket_is_read_by_its_number_only(desk: Path) -> None:
    read = tools_of(desk)["read_ticket"]
    assert "leaks at the handle" in read("1041", context(desk))
    for wrong in ("9999", "../orders/orders", "1041\n"):
        with pytest.raises(ValueError, match="there is no ticket"):
            read(wrong, context(desk))
    assert tools_of(desk)["days_between"]("2026-02-20", "2026-03-03") == 11


# -- content-pipeline


def test_a_page_is_published_with_its_title_and_replaced_whole(tmp_path: Path) -> None:
    root = copy_example("content-pipeline", tmp_path / "p").root
    publish = tools_of(root)["publish_page"]
    publish("b.md", "# Second\n\nText", context(root))
    publish("a.md", "# First", context(root))
    publish("b.md", "# Another second", context(root))
    assert json.loads((root / "site" / "index.json").read_text()) == {"a.md": "First", "b.md": "Another second"}
    assert (root / "site" / "b.md").read_text() == "# Another second\n"
    assert sorted(path.name for path in (root / "site").iterdir()) == ["a.md", "b.md", "index.json"]


@pytest.mark.parametrize("name", ["../a.md", "a", "A.md", "a b.md", ".md", "sub/a.md"])
def test_a_page_outside_of_the_site_is_refused(tmp_path: Path, name: str) -> None:
    root = copy_example("content-pipeline", tmp_path / "p").root
    with pytest.raises(ValueError, match="is refused"):
        tools_of(root)["publish_page"](name, "# T", context(root))
    with pytest.raises(ValueError, match="no title"):
        tools_of(root)["publish_page"]("a.md", "no heading", context(root))
    assert not (root / "site").exists()


# -- code-review


def test_the_checks_find_the_faults_of_the_change_at_their_lines() -> None:
    root = EXAMPLES / "code-review"
    found = tools_of(root)["check_python"]("change", "basket.py", context(root)).splitlines()
    assert found == [
        "basket.py:4: `os` is imported and not used",
        "basket.py:7: `total` has a mutable default, shared by all its calls",
        "basket.py:19: a bare `except` hides every error, also a typing error in the code",
        "basket.py:25: a query is put together from texts: pass the values as parameters",
        "basket.py:26: compare with None by `is` or `is not`",
    ]


def test_the_diff_shows_what_was_taken_out_and_put_in() -> None:
    root = EXAMPLES / "code-review"
    diff = tools_of(root)["show_diff"]("change", context(root)).splitlines()
    assert diff[:2] == ["--- before/basket.py", "+++ after/basket.py"]
    assert "-def total(items):" in diff
    assert "+def total(items=[]):" in diff
    numbered = tools_of(root)["read_source"]("change", "basket.py", context(root)).splitlines()
    assert numbered[3] == "   4  import os"


def test_the_checks_find_nothing_in_sound_code_and_say_what_cannot_be_read(tmp_path: Path) -> None:
    root = copy_example("code-review", tmp_path / "p").root
    check = tools_of(root)["check_python"]
    after = root / "change" / "after"
    after.joinpath("sound.py").write_text("import os\n\n\ndef here(rows=None):\n    return rows or os.getcwd()\n")
    after.joinpath("broken.py").write_text("def (:\n")
    after.joinpath("wild.py").write_text("def run(db, text):\n    eval(text)\n    db.execute('select ' + text)\n")
    assert check("change", "sound.py", context(root)) == "sound.py: no fault was found by these rules"
    assert check("change", "broken.py", context(root)).startswith("broken.py:1: cannot be read")
    assert [line.split(":")[1] for line in check("change", "wild.py", context(root)).splitlines()] == ["2", "3"]


@pytest.mark.parametrize(("folder", "path"), [("..", "x.py"), ("change", "../../tools/checks.py"), ("change", "no.py")])
def test_nothing_outside_of_the_change_is_read(folder: str, path: str) -> None:
    root = EXAMPLES / "code-review"
    with pytest.raises(ValueError, match="there is no"):
        tools_of(root)["read_source"](folder, path, context(root))


# -- data-report


def test_sums_agree_with_the_rows_of_the_table() -> None:
    root = EXAMPLES / "data-report"
    rows = [line.split(",") for line in (root / "data" / "sales.csv").read_text().splitlines()[1:]]
    north = sum((Decimal(row[4]) for row in rows if row[1] == "North"), Decimal(0))
    found = tools_of(root)["aggregate"]("data/sales.csv", "sum", "revenue_crowns", context(root), group_by="region")
    assert found[0] == {"group": "North", "rows": "18", "sum": str(north)}


@pytest.mark.parametrize(
    ("how", "column", "where", "expected"),
    [
        ("count", "units", "region=South and product=Large and units=0", "2"),
        ("greatest", "units", "", "55"),
        ("least", "units", "month<2026-04", "8"),
        ("mean", "units", "region!=South and product=Mini and month>=2026-06", "34.00"),
        ("sum", "units", "region=East", "0"),
        ("mean", "units", "region=East", ""),
    ],
)
def test_numbers_of_a_table_are_exact(how: str, column: str, where: str, expected: str) -> None:
    root = EXAMPLES / "data-report"
    ((entry),) = tools_of(root)["aggregate"]("data/sales.csv", how, column, context(root), where=where)
    assert entry[how] == expected


@pytest.mark.parametrize(
    ("table", "column", "where", "reason"),
    [
        ("data/none.csv", "units", "", "there is no table"),
        ("../x.csv", "units", "", "there is no table"),
        ("data/sales.csv", "profit", "", "there is no column 'profit'; there are: month"),
        ("data/sales.csv", "region", "", "holds 'North', which is no number"),
        ("data/sales.csv", "units", "region is North", "is no condition"),
    ],
)
def test_what_a_table_cannot_say_is_refused_with_the_reason(table: str, column: str, where: str, reason: str) -> None:
    root = EXAMPLES / "data-report"
    with pytest.raises(ValueError, match=reason):
        tools_of(root)["aggregate"](table, "sum", column, context(root), where=where)


def test_a_table_is_described_by_its_columns() -> None:
    root = EXAMPLES / "data-report"
    found = tools_of(root)["describe_table"]("data/sales.csv", context(root))
    assert found["rows"] == 54
    assert found["columns"]["region"] == {"kind": "text", "different": 3, "values": ["North", "South", "West"]}
    assert found["columns"]["units"]["kind"] == "number"


# -- patterns


def test_the_log_takes_an_entry_once_for_each_key(tmp_path: Path) -> None:
    root = copy_example("patterns/planner-executor", tmp_path / "p").root
    enter = tools_of(root)["log_entry"]
    for key in ("a", "b", "a"):
        enter("found", context(root, key))
    assert [json.loads(line)["key"] for line in (root / "output" / "log.jsonl").read_text().splitlines()] == ["a", "b"]


def test_the_house_style_refuses_shouting() -> None:
    style = load_functions(EXAMPLES / "patterns/gates" / "guardrails", "__muster_guardrail__")["house_style"]
    assert style("Bring it back. NOW, and at ONCE!!") == "do not shout: ONCE, !!"
    assert style("The USB cord is 3 m long!") == ""
