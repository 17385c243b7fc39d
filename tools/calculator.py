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
_MAX_ROUNDING = 100
_SHOWN_DIGITS = 20
_SHOWN = Context(prec=_SHOWN_DIGITS)
_INNER = Context(prec=60)  # for what has no exact value: roots and broken powers
_NUMBER = re.compile(r"(?<![\w.])(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?")
_TOO_LARGE = "a number in it is too large or too close to 0"
_GRAMMAR = "numbers, + - * / // % **, parentheses, and min, max, abs, round, sqrt, sum"


@tool(effect="read", returns="trusted")
def calculator(expression: str) -> str:
    """Calculate an arithmetic expression exactly, and return the number.

    Knows + - * / // % ** and parentheses, min, max, abs, round(x, digits), sqrt, sum. Decimals are exact: 0.1 + 0.2 is
    0.3. `//` and `%` are floor division and remainder; round takes halves away from zero. A result without an exact
    decimal form is rounded to 20 digits.

    Args:
        expression: Such as `(1200 - 950) / 950 * 100`. Plain numbers only: no units, no thousands separators, no names.
    """
    source = _plain(expression)
    try:
        return _shown(_value(_parsed(source), source, 0))
    except ZeroDivisionError as error:
        raise ValueError("division by zero") from error
    except (DecimalException, OverflowError) as error:
        raise ValueError(_TOO_LARGE) from error


def _plain(expression: str) -> str:
    """Return the expression on one line when nothing but numbers, signs and known functions is in it."""
    if len(expression) > _MAX_CHARACTERS:
        raise ValueError(f"the expression has {len(expression)} characters; at most {_MAX_CHARACTERS} are allowed")
    source = " ".join(expression.split())
    if odd := re.search(r"[^0-9A-Za-z_.,+\-*/%()\[\] ]", source):
        hint = "; write ** for powers" if odd[0] == "^" else ""
        raise ValueError(f"{odd[0]!r} cannot be used here{hint}; allowed are {_GRAMMAR}")
    for name in re.findall(r"[A-Za-z_]\w*", _NUMBER.sub(" ", source)):
        if name not in _FUNCTIONS:
            raise ValueError(f"{name!r} is not known; allowed are {_GRAMMAR}")
    return source


def _parsed(source: str) -> ast.expr:
    try:
        return ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the expression cannot be read; allowed are {_GRAMMAR}") from error


def _value(node: ast.expr, source: str, depth: int) -> Fraction:
    if depth > _MAX_DEPTH:
        raise ValueError(f"the expression is nested more than {_MAX_DEPTH} deep")
    match node:
        case ast.Constant():
            return _number(ast.get_source_segment(source, node) or "")
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign):
            value = _value(node.operand, source, depth + 1)
            return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp():
            left, right = _value(node.left, source, depth + 1), _value(node.right, source, depth + 1)
            return _bounded(_operation(node.op, left, right))
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            given = node.args[0].elts if len(node.args) == 1 and isinstance(node.args[0], ast.List) else node.args
            return _bounded(_FUNCTIONS[name]([_value(argument, source, depth + 1) for argument in given]))
        case ast.Tuple():
            raise ValueError("a comma stands outside of a function; write 1000, not 1,000")
        case _:
            raise ValueError(f"this is not arithmetic; allowed are {_GRAMMAR}")


def _number(text: str) -> Fraction:
    number = Decimal(text.replace("_", ""))
    if abs(number.adjusted()) > _MAX_EXPONENT:
        raise ValueError(_TOO_LARGE)
    return Fraction(number)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise ValueError(_TOO_LARGE)
    return value


def _operation(sign: ast.operator, left: Fraction, right: Fraction) -> Fraction:
    match sign:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.FloorDiv():
            return Fraction(left // right)
        case ast.Mod():
            return left % right
        case ast.Pow():
            return _power(left, right)
        case _:
            raise ValueError(f"this is not arithmetic; allowed are {_GRAMMAR}")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent) > _MAX_EXPONENT or size * abs(exponent) > 2 * _MAX_BITS:
            raise ValueError(_TOO_LARGE)
        return Fraction(base**exponent.numerator)
    if base < 0:
        raise ValueError("a negative number has no real power with a broken exponent")
    if exponent == Fraction(1, 2):
        return _root([base])
    if base == 0:
        return 1 / base if exponent < 0 else base
    return _fraction(_INNER.power(_decimal(base), _decimal(exponent)))


def _root(values: Sequence[Fraction]) -> Fraction:
    value = _only(values)
    if value < 0:
        raise ValueError("a negative number has no real square root")
    exact = Fraction(isqrt(value.numerator), isqrt(value.denominator))
    return exact if exact * exact == value else _fraction(_INNER.sqrt(_decimal(value)))


def _round(values: Sequence[Fraction]) -> Fraction:
    if len(values) not in (1, 2):
        raise ValueError("round takes a number and, if wanted, how many digits")
    digits = values[1] if len(values) == 2 else Fraction(0)
    if digits.denominator != 1 or abs(digits) > _MAX_ROUNDING:
        raise ValueError(f"the digits of round must be a whole number from -{_MAX_ROUNDING} to {_MAX_ROUNDING}")
    unit = Fraction(10) ** -digits.numerator
    rounded = (abs(values[0]) / unit + Fraction(1, 2)) // 1 * unit
    return -rounded if values[0] < 0 else rounded


def _only(values: Sequence[Fraction]) -> Fraction:
    if len(values) != 1:
        raise ValueError(f"abs and sqrt take one number, got {len(values)}")
    return values[0]


def _some(values: Sequence[Fraction]) -> Sequence[Fraction]:
    if not values:
        raise ValueError("min, max and sum take at least one number")
    return values


_FUNCTIONS: dict[str, Callable[[Sequence[Fraction]], Fraction]] = {
    "abs": lambda values: abs(_only(values)),
    "max": lambda values: max(_some(values)),
    "min": lambda values: min(_some(values)),
    "round": _round,
    "sqrt": _root,
    "sum": lambda values: sum(_some(values), Fraction(0)),
}


def _decimal(value: Fraction) -> Decimal:
    return _INNER.divide(Decimal(value.numerator), Decimal(value.denominator))


def _fraction(value: Decimal) -> Fraction:
    # Beyond the digits that are right, a whole number would look exact and be wrong.
    if value and not -_MAX_EXPONENT <= value.adjusted() < _INNER.prec:
        raise ValueError(_TOO_LARGE)
    return Fraction(value)


def _shown(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    number = _SHOWN.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize(_SHOWN)
    return f"{number:f}" if abs(number.adjusted()) <= _SHOWN_DIGITS else str(number)
