"""The tool `calculator`: exact arithmetic on fractions, with a bound on everything that could grow."""

import ast
import re
from collections.abc import Callable, Sequence
from decimal import Context, Decimal, DecimalException
from fractions import Fraction
from math import isqrt

from muster import tool

_MAX_CHARACTERS = 500
_MAX_DEPTH = 40
_MAX_BITS = 4000
_MAX_EXPONENT = 1000
_SHOWN_DIGITS = 20
_INNER = Context(prec=60)  # for what has no exact value: roots and broken powers
_GRAMMAR = "numbers, + - * / // % **, parentheses, and min, max, abs, round, sqrt, sum"


@tool(effect="read", returns="trusted")
def calculator(expression: str) -> str:
    """Calculate an arithmetic expression exactly, and return the number.

    Knows + - * / // % ** and parentheses, min, max, abs, round(x, digits), sqrt, sum. Decimals are exact: 0.1 + 0.2 is 0.3.
    `//` and `%` are floor division and remainder; round takes halves away from zero. A result without an exact decimal form
    is rounded to 20 digits.

    Args:
        expression: Such as `(1200 - 950) / 950 * 100`. Plain numbers only: no units, no thousands separators, no names.
    """
    try:
        return _shown(_value(_parsed(expression), expression, 0))
    except ZeroDivisionError as error:
        raise ValueError("division by zero") from error
    except (DecimalException, OverflowError) as error:
        raise ValueError("the result is too large or not a number") from error


def _parsed(expression: str) -> ast.expr:
    if len(expression) > _MAX_CHARACTERS:
        raise ValueError(f"the expression has {len(expression)} characters; at most {_MAX_CHARACTERS} are allowed")
    if odd := re.search(r"[^0-9A-Za-z_.,+\-*/%()\[\]\s]", expression):
        hint = "; write ** for powers" if odd[0] == "^" else ""
        raise ValueError(f"{odd[0]!r} cannot be used here{hint}; allowed are {_GRAMMAR}")
    if joined := re.search(r"(?<![A-Za-z_])\d[\d_.]*(?!e[+-]?\d)[A-Za-z_]", expression, re.IGNORECASE):
        raise ValueError(f"{joined[0]!r} is neither a number nor a name; write * to multiply")
    try:
        return ast.parse(" ".join(expression.split()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the expression cannot be read; allowed are {_GRAMMAR}") from error


def _value(node: ast.expr, source: str, depth: int) -> Fraction:
    if depth > _MAX_DEPTH:
        raise ValueError(f"the expression is nested more than {_MAX_DEPTH} deep")
    match node:
        case ast.Constant():
            return _number(node, source)
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign):
            value = _value(node.operand, source, depth + 1)
            return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp():
            left, right = _value(node.left, source, depth + 1), _value(node.right, source, depth + 1)
            return _bounded(_operation(node.op, left, right))
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
            values = [_value(argument, source, depth + 1) for argument in _arguments(node.args)]
            return _bounded(_FUNCTIONS[name](values))
        case ast.Tuple():
            raise ValueError("a comma stands outside of a function; write 1000, not 1,000")
        case ast.Name(id=name):
            raise ValueError(f"{name!r} is not known; allowed are {_GRAMMAR}")
        case _:
            raise ValueError(f"this is not arithmetic; allowed are {_GRAMMAR}")
