"""The base of every noun: frozen, strict about unknown keys, printable as JSON.

Nouns hold facts; they do no I/O. One pydantic model is the file format, the stored form and the documentation at once.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Self

from pydantic import BaseModel, ConfigDict

Scalar = bool | int | float | str
"""A single value as a person writes it in a study file."""

Value = Scalar | tuple[Scalar, ...] | None
"""A parameter's value. ``None`` leaves the flag out: the engine decides. ``True``/``False`` switch a flag on or off. A
tuple is one value of a flag that takes several arguments (``--cuda-graph-bs 1 2 4``)."""


def same(a: Value, b: Value) -> bool:
    """Whether two values are equal, type included: ``1``, ``1.0`` and ``True`` are three values, in lists as well."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def parts_of(value: Value) -> tuple[Scalar, ...]:
    """The single values in a value: those of a list, the value itself, none where it is left out."""
    if isinstance(value, tuple):
        return value
    return () if value is None else (value,)


def with_texts(value: Value, change: Callable[[str], str]) -> Value:
    """The value with each text in it changed."""
    changed = tuple(change(part) if isinstance(part, str) else part for part in parts_of(value))
    return changed if isinstance(value, tuple) else changed[0] if changed else None


def value_text(value: Value) -> str:
    """A value for people: ``-`` where it is left out, ``on`` or ``off`` for a switch, ``1,2,4`` for a list."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


class Noun(BaseModel):
    """A frozen pydantic model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", protected_namespaces=())

    def replaced(self, **changes: object) -> Self:
        """A copy with other values, validated as a new object is; ``model_copy(update=...)`` checks nothing.

        Raises ``ValidationError`` for an unknown field or a value that does not fit.
        """
        return type(self).model_validate({**dict(self), **changes})


def number_text(number: float, *, thousandfold: bool = False) -> str:
    """A number in its shortest decimal spelling that reads back as the same number; optionally times 1000, exactly."""
    decimal = Decimal(repr(number)).scaleb(3 if thousandfold else 0)
    text = f"{decimal:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
