"""Constraints between parameters, in a small expression language that is never evaluated as Python.

Grammar, loosest first::

    implies              right to left: a implies b implies c is a implies (b implies c)
    or, and, not
    == != < <= > >= in [..] not in [..]       chained: 1 <= a < b
    + -
    * / // %
    unary minus
    numbers, 'strings', true, false, null, names, (..), min(..) max(..) abs(.) ceil(.) floor(.)

In study files, a bare word that ``==``, ``!=`` or ``in`` compares with a parameter is a value if the parameter lists it
and no parameter has this name (``speculative-algorithm == EAGLE``). It is stored in quotes.

A hyphen or a dot between name characters belongs to the name (``parallelism.tp``), so a subtraction needs spaces.
Underscores and hyphens in names are equivalent.

``null`` is the value of a parameter that is left to the engine. ``==``, ``!=`` and ``in`` treat it like any other
value: ``a == 1`` is false if ``a`` is null, so ``a == null implies c`` and ``a == 1 or c`` exclude the same
configurations if ``a`` can only be null or 1. If the engine's default is known, a parameter that is left out equals
both null and that default. An order involving null is unknown (``a <= 8``), because the engine computes the value.

Unknown results follow three-valued logic and are reported as ``None``: ``a == 1 or b > 2`` holds for ``a = 1`` whatever
``b`` is. An expression without a result (a division by zero, an order between a string and a number) violates the
constraint, also under ``not``, unless the rest decides alone: ``b == 0 or a / b > 2`` is a guard. Values of different
kinds are never equal: ``true`` is not ``1``. A list equals its text with single spaces (``'1 2 4'``); ``min`` and
``max`` apply to its items. Type errors between literals are rejected when the text is parsed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Container, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

from pydantic import field_validator, model_validator

from autotuner.study.base import FrozenModel, Value
from autotuner.study.parameters.constraint_parser import Node, parse, tokens


class Constraint(FrozenModel):
    """A constraint between parameters, stored as its text."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Parses a constraint. Raises ``ValueError`` with column, reason and remedy."""
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
        """All names in the constraint, hyphenated."""
        return frozenset(t.text for t in tokens(self.text) if t.kind == "name")

    def holds(self, names: Mapping[str, Value], left_out: Container[str] = ()) -> bool | None:
        """Whether the constraint holds; None if that depends on an unknown value.

        Args:
            names: Values by name. A missing name is unknown; None means that the engine decides.
            left_out: Hyphenated names that the engine decides although ``names`` has its default for them.
        """
        truth = _truth(_parsed(self.text), _Names(names, left_out))
        if truth is _Odd.UNKNOWN:
            return None
        return truth is True

    def renamed(self, new_name: Callable[[str], str]) -> Constraint:
        """The constraint with every name replaced, e.g. by its canonical spelling."""
        text = self.text
        for token in reversed([t for t in tokens(text) if t.kind == "name"]):
            text = text[: token.start] + new_name(token.text) + text[token.end :]
        return Constraint.parse(text)


class _Odd(Enum):
    """Results of an expression that are not values."""

    UNKNOWN = "unknown"
    FAULT = "fault"
    """There is no result; the constraint is violated unless the rest of the expression decides alone."""


_Result = Value | _Odd
_Truth = bool | _Odd


class _Names:
    """Values by name, in any spelling."""

    def __init__(self, values: Mapping[str, Value], left_out: Container[str]) -> None:
        self._values = values
        self._left_out = left_out

    def value(self, name: str) -> _Result:
        for spelling in (name, name.replace("-", "_")):
            if spelling in self._values:
                return self._values[spelling]
        for spelling, value in self._values.items():
            if spelling.replace("_", "-") == name:
                return value
        return _Odd.UNKNOWN

    def is_null(self, name: str) -> _Truth:
        value = self.value(name)
        if isinstance(value, _Odd):
            return value
        return value is None or name in self._left_out


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Node:
    return parse(text)


def _value(node: Node, names: _Names) -> _Result:
    match node.operator:
        case "literal":
            return node.literal
        case "name":
            return names.value(str(node.literal))
        case "call":
            return _arithmetic(_FUNCTIONS[str(node.literal)], node, names)
        case "+" | "-" | "*" | "/" | "//" | "%":
            return _arithmetic(_ARITHMETIC[node.operator, len(node.parts)], node, names)
        case _:
            return _truth(node, names)


def _truth(node: Node, names: _Names) -> _Truth:
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
            if value is None:
                return _Odd.UNKNOWN
            return value if isinstance(value, bool | _Odd) else _Odd.FAULT


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


def _equal(left: Node, right: Node, names: _Names) -> _Truth:
    for one, other in ((left, right), (right, left)):
        if one.operator == "literal" and one.literal is None and other.operator == "name":
            return names.is_null(str(other.literal))
    a = _value(left, names)
    b = _value(right, names)
    if isinstance(a, _Odd) or isinstance(b, _Odd):
        return _odd_of(a, b)
    if isinstance(a, str) or isinstance(b, str):
        a, b = (" ".join(map(str, v)) if isinstance(v, tuple) else v for v in (a, b))
    return _kind(a) == _kind(b) and a == b


def _ordered(compare: Callable[[Any, Any], bool], a: _Result, b: _Result) -> _Truth:
    if isinstance(a, _Odd) or isinstance(b, _Odd):
        return _odd_of(a, b)
    if a is None or b is None:
        return _Odd.UNKNOWN
    if _kind(a) != _kind(b) or _kind(a) not in ("number", "string"):
        return _Odd.FAULT
    return compare(a, b)


def _odd_of(*values: _Result) -> _Odd:
    return _Odd.FAULT if _Odd.FAULT in values else _Odd.UNKNOWN


def _kind(value: Value) -> str:
    """The kind by which a value is compared; a list's includes the kinds of its items."""
    if isinstance(value, tuple):
        return ", ".join(("list", *map(_kind, value)))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def _arithmetic(function: Callable[..., Any], node: Node, names: _Names) -> _Result:
    values = [_value(part, names) for part in node.parts]
    if node.operator == "call" and str(node.literal) in ("min", "max"):
        values = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
    values = [_Odd.UNKNOWN if v is None else v for v in values]
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
