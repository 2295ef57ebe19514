"""Bounds between parameters, in a small expression language that is parsed here and never evaluated as Python.

Grammar, loosest first::

    implies              right to left: a implies b implies c is a implies (b implies c)
    or, and, not
    == != < <= > >= in [..] not in [..]       chained: 1 <= a < b
    + -
    * / // %
    unary minus
    numbers, 'strings', true, false, null, names, (..), min(..) max(..) abs(.) ceil(.) floor(.)

A hyphen or a dot between name characters belongs to the name (``parallelism.tp``), so a subtraction needs spaces;
underscores and hyphens in names are equal. ``null`` is the value of a parameter that is left to the engine, and may
only be compared for equality.

What cannot be known is ``None``, by three-valued logic: ``a == 1 or b > 2`` holds for ``a = 1`` whatever ``b`` is. What
has no answer (a division by zero, an order between a string and a number) counts as violated, under ``not`` as well,
unless the rest decides alone: ``b == 0 or a / b > 2`` is a guard. Values of different kinds are never equal: ``true``
is not ``1``. Nonsense between literals is refused when the text is parsed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

from pydantic import field_validator, model_validator

from autotuner.study.constraint_text import Node, parse, tokens
from autotuner.study.noun import Noun, Value


class Constraint(Noun):
    """One bound between parameters; prints and stores as its text alone."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """The constraint in ``text``; raises ValueError with column, reason and remedy."""
        _parsed(text)
        return cls(text=text)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        return {"text": data} if isinstance(data, str) else data

    @field_validator("text")
    @classmethod
    def _parses(cls, text: str) -> str:
        _parsed(text)
        return text

    @property
    def names(self) -> frozenset[str]:
        """Every name used, hyphenated."""
        return frozenset(t.text for t in tokens(self.text) if t.kind == "name")

    def holds(self, names: Mapping[str, Value]) -> bool | None:
        """Whether the bound holds; None when that hangs on a name without a known value."""
        truth = _truth(_parsed(self.text), names)
        if truth is _Odd.UNKNOWN:
            return None
        return truth is True

    def renamed(self, new_name: Callable[[str], str]) -> Constraint:
        """The same bound with every name replaced, e.g. by its canonical spelling."""
        text = self.text
        for token in reversed([t for t in tokens(text) if t.kind == "name"]):
            text = text[: token.start] + new_name(token.text) + text[token.end :]
        return Constraint.parse(text)


class _Odd(Enum):
    """What an expression may give besides a value."""

    UNKNOWN = "unknown"
    FAULT = "fault"
    """No answer exists; violated unless the rest of the expression decides alone."""


_Result = bool | int | float | str | _Odd
_Truth = bool | _Odd


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Node:
    return parse(text)


def _value(node: Node, names: Mapping[str, Value]) -> _Result:
    match node.operator:
        case "literal":
            return _Odd.UNKNOWN if node.literal is None else node.literal
        case "name":
            found = _look_up(str(node.literal), names)
            return _Odd.UNKNOWN if found is None else found
        case "call":
            return _arithmetic(_FUNCTIONS[str(node.literal)], node, names)
        case "+" | "-" | "*" | "/" | "//" | "%":
            return _arithmetic(_ARITHMETIC[node.operator, len(node.parts)], node, names)
        case _:
            return _truth(node, names)


def _truth(node: Node, names: Mapping[str, Value]) -> _Truth:
    match node.operator:
        case "and":
            return _all([_truth(part, names) for part in node.parts])
        case "or":
            return _any([_truth(part, names) for part in node.parts])
        case "implies":
            return _any([_not(_truth(node.parts[0], names)), _truth(node.parts[1], names)])
        case "not":
            return _not(_truth(node.parts[0], names))
        case "in":
            needle, *items = node.parts
            return _any([_equal(needle, item, names) for item in items])
        case "==":
            return _equal(node.parts[0], node.parts[1], names)
        case "!=":
            return _not(_equal(node.parts[0], node.parts[1], names))
        case "<" | "<=" | ">" | ">=":
            left, right = (_value(part, names) for part in node.parts)
            return _ordered(_ORDER[node.operator], left, right)
        case _:
            value = _value(node, names)
            return value if isinstance(value, bool | _Odd) else _Odd.FAULT


def _look_up(name: str, names: Mapping[str, Value], missing: Value = None) -> Value:
    """The value under any spelling of the name."""
    for spelling in (name, name.replace("-", "_")):
        if spelling in names:
            return names[spelling]
    for spelling, value in names.items():
        if spelling.replace("_", "-") == name:
            return value
    return missing


def _all(parts: list[_Truth]) -> _Truth:
    if False in parts:
        return False
    return _first_odd(parts, otherwise=True)


def _any(parts: list[_Truth]) -> _Truth:
    if True in parts:
        return True
    return _first_odd(parts, otherwise=False)


def _first_odd(parts: list[_Truth], *, otherwise: bool) -> _Truth:
    if _Odd.UNKNOWN in parts:
        return _Odd.UNKNOWN
    return _Odd.FAULT if _Odd.FAULT in parts else otherwise


def _not(truth: _Truth) -> _Truth:
    return not truth if isinstance(truth, bool) else truth


_MISSING = "\0"
"""Stands for a name that is not given, where that differs from one that is given as null."""


def _equal(left: Node, right: Node, names: Mapping[str, Value]) -> _Truth:
    for one, other in ((left, right), (right, left)):
        if one.operator == "literal" and one.literal is None:
            return _is_null(other, names)
    a, b = _value(left, names), _value(right, names)
    if isinstance(a, _Odd) or isinstance(b, _Odd):
        return _odd_of(a, b)
    return _kind(a) == _kind(b) and a == b


def _is_null(node: Node, names: Mapping[str, Value]) -> _Truth:
    if node.operator == "name":
        found = _look_up(str(node.literal), names, _MISSING)
        return _Odd.UNKNOWN if found == _MISSING else found is None
    if node.operator == "literal":
        return node.literal is None
    value = _value(node, names)
    return value if isinstance(value, _Odd) else False


def _ordered(compare: Callable[[Any, Any], bool], a: _Result, b: _Result) -> _Truth:
    if isinstance(a, _Odd) or isinstance(b, _Odd):
        return _odd_of(a, b)
    if _kind(a) != _kind(b) or isinstance(a, bool):
        return _Odd.FAULT
    return compare(a, b)


def _odd_of(*values: _Result) -> _Odd:
    return _Odd.FAULT if _Odd.FAULT in values else _Odd.UNKNOWN


def _kind(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def _arithmetic(function: Callable[..., Any], node: Node, names: Mapping[str, Value]) -> _Result:
    values = [_value(part, names) for part in node.parts]
    if any(not isinstance(v, _Odd) and _kind(v) != "number" for v in values):
        return _Odd.FAULT
    if any(isinstance(v, _Odd) for v in values):
        return _odd_of(*values)
    try:
        result: int | float = function(*values)
    except (ArithmeticError, ValueError):
        return _Odd.FAULT
    return _Odd.FAULT if isinstance(result, float) and math.isnan(result) else result


_ARITHMETIC: Mapping[tuple[str, int], Callable[..., Any]] = {
    ("+", 2): operator.add,
    ("-", 2): operator.sub,
    ("-", 1): operator.neg,
    ("*", 2): operator.mul,
    ("/", 2): operator.truediv,
    ("//", 2): operator.floordiv,
    ("%", 2): operator.mod,
}
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
}
