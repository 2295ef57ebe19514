"""The base of the domain model, and parameter values.

Domain models hold facts and do no I/O. The same pydantic model defines what is stored, exported and documented.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Self

from pydantic import BaseModel, ConfigDict

Scalar = bool | int | float | str
"""A single value as written in a study file."""

Value = Scalar | tuple[Scalar, ...] | None
"""A parameter's value. ``None`` omits the flag, so that the engine decides; ``True`` and ``False`` switch a flag on and
off; a tuple is one value of a flag that takes several arguments (``--cuda-graph-bs 1 2 4``)."""


def same(a: Value, b: Value) -> bool:
    """Whether two values are equal and of the same type: ``1``, ``1.0`` and ``True`` all differ, also in lists."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def parts_of(value: Value) -> tuple[Scalar, ...]:
    """The items of a list, the value itself, or nothing if the flag is omitted."""
    if isinstance(value, tuple):
        return value
    return () if value is None else (value,)


def with_texts(value: Value, change: Callable[[str], str]) -> Value:
    """The value with ``change`` applied to each string in it."""
    changed = tuple(change(part) if isinstance(part, str) else part for part in parts_of(value))
    return changed if isinstance(value, tuple) else changed[0] if changed else None


def value_text(value: Value) -> str:
    """A value for display: ``-`` if it is omitted, ``on`` or ``off`` for a switch, ``1,2,4`` for a list."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


class FrozenModel(BaseModel):
    """A frozen pydantic model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", protected_namespaces=())

    def replaced(self, **changes: object) -> Self:
        """A validated copy with changes; ``model_copy(update=...)`` does not validate.

        Raises:
            ValidationError: If a field is unknown or a value is invalid.
        """
        # Not dict(self), which contains cached properties, too.
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **changes})


def number_text(number: float, *, thousandfold: bool = False, hundredfold: bool = False) -> str:
    """The shortest decimal text that reads back as the same number.

    Args:
        number: Any finite number.
        thousandfold: Multiply by 1000, without rounding.
        hundredfold: Multiply by 100, without rounding.
    """
    decimal = Decimal(repr(number)).scaleb(3 if thousandfold else 2 if hundredfold else 0)
    text = f"{decimal:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
