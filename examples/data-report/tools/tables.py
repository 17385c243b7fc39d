import csv
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from muster import ToolContext, tool

Row = dict[str, str]
_MOST_VALUES = 12
_MOST_GROUPS = 200


@tool(effect="read", returns="trusted", cache=True)
def describe_table(table: str, context: ToolContext) -> dict[str, Any]:
    """Describe a table: its rows, and for each column its kind, its values or its least and greatest number.

    Args:
        table: File inside the project, such as data/sales.csv.
    """
    rows = _read(context.project, table)
    return {"rows": len(rows), "columns": {name: _describe([row[name] for row in rows]) for name in rows[0]}}


@tool(effect="read", returns="trusted", cache=True)
def aggregate(
    table: str,
    how: Literal["sum", "mean", "least", "greatest", "count"],
    column: str,
    context: ToolContext,
    group_by: str = "",
    where: str = "",
) -> list[dict[str, str]]:
    """Work out one exact number of a table, or one for each group. Means are rounded to two decimals.

    Args:
        table: File inside the project, such as data/sales.csv.
        how: What is worked out.
        column: Column of numbers; for `count` any column.
        group_by: Column whose values make the groups; empty for one number over all rows.
        where: Rows that count, such as region=North or month>=2026-04; several with `and`. Empty: all.
    """
    rows = _read(context.project, table)
    _need(rows, column, *([group_by] if group_by else []))
    kept = [row for row in rows if all(_holds(row, part, rows) for part in where.split(" and ") if part.strip())]
    groups: dict[str, list[Row]] = {}
    for row in kept:
        groups.setdefault(row[group_by] if group_by else "all rows", []).append(row)
    found = [
        {"group": name, "rows": str(len(members)), how: _work_out(how, column, members)}
        for name, members in sorted(groups.items())
    ]
    return found[:_MOST_GROUPS] or [{"group": "all rows", "rows": "0", how: "0" if how in ("sum", "count") else ""}]


def _read(project: Path, table: str) -> list[Row]:
    path = (project / table).resolve()
    if not path.is_relative_to(project.resolve()) or path.suffix != ".csv" or not path.is_file():
        raise ValueError(f"there is no table {table!r} in the project")
    with path.open(encoding="utf-8", newline="") as file:
        rows = [dict(row) for row in csv.DictReader(file)]
    if not rows:
        raise ValueError(f"the table {table!r} has no rows")
    return rows


def _describe(values: Sequence[str]) -> dict[str, Any]:
    numbers = [number for value in values if (number := _number(value)) is not None]
    if len(numbers) == len(values):
        return {"kind": "number", "least": str(min(numbers)), "greatest": str(max(numbers))}
    different = sorted(set(values))
    return {"kind": "text", "different": len(different), "values": different[:_MOST_VALUES]}


def _work_out(how: str, column: str, rows: Sequence[Row]) -> str:
    if how == "count":
        return str(len(rows))
    numbers: list[Decimal] = []
    for row in rows:
        number = _number(row[column])
        if number is None:
            raise ValueError(f"{column} holds {row[column]!r}, which is no number")
        numbers.append(number)
    match how:
        case "sum":
            return str(sum(numbers, Decimal(0)))
        case "mean":
            return str((sum(numbers, Decimal(0)) / len(numbers)).quantize(Decimal("0.01")))
        case "least":
            return str(min(numbers))
        case _:
            return str(max(numbers))


def _holds(row: Row, condition: str, rows: Sequence[Row]) -> bool:
    for sign in (">=", "<=", "!=", "=", ">", "<"):
        name, found, wanted = condition.partition(sign)
        if found:
            _need(rows, name.strip())
            return _compare(row[name.strip()], sign, wanted.strip())
    raise ValueError(f"{condition!r} is no condition; write it like region=North")


def _compare(value: str, sign: str, wanted: str) -> bool:
    left, right = _number(value), _number(wanted)
    order = _order(left, right) if left is not None and right is not None else _order(value, wanted)
    return {"=": order == 0, "!=": order != 0, ">": order > 0, "<": order < 0, ">=": order >= 0, "<=": order <= 0}[sign]


def _order(left: Any, right: Any) -> int:
    return (left > right) - (left < right)


def _need(rows: Sequence[Row], *columns: str) -> None:
    for column in columns:
        if column not in rows[0]:
            raise ValueError(f"there is no column {column!r}; there are: {', '.join(rows[0])}")


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
