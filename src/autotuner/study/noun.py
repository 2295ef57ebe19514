"""The base of every noun: frozen, strict about unknown keys, printable as JSON.

Nouns hold facts; they do no I/O. One pydantic model is the file format, the stored form and the documentation at once.
"""

from decimal import Decimal

from pydantic import BaseModel, ConfigDict

Scalar = bool | int | float | str
"""A value as a person writes it in a study file. A string is passed on unchanged, whatever it contains."""

Value = Scalar | None
"""A parameter's value. ``None`` leaves the flag out: the engine decides. ``True``/``False`` switch a flag on or off."""


class Noun(BaseModel):
    """A frozen pydantic model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", protected_namespaces=())


def number_text(number: float, *, thousandfold: bool = False) -> str:
    """A number in its shortest decimal spelling that reads back as the same number; optionally times 1000, exactly."""
    decimal = Decimal(repr(number)).scaleb(3 if thousandfold else 0)
    text = f"{decimal:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
