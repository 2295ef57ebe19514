"""Quantities, and arguments whose dollar signs must survive Kubernetes and Compose."""

import re
from typing import Any

from autotuner.invalid_value import InvalidValueError

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?")
_FACTORS = {
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}


def amount(text: str | int | float) -> float:
    """A Kubernetes quantity (``500m``, ``16Gi``, ``4``) as a number. Raises ValueError."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise InvalidValueError(f"{text} is not a quantity", remedy="write e.g. 500m, 4, 512Mi or 16Gi")
    return float(match[1]) * _FACTORS.get(match[2] or "", 1.0)


def positive(value: Any) -> Any:
    """A quantity above zero as text; anything else is left to the type check. Raises ValueError."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if isinstance(text, str) and amount(text) <= 0:
        raise ValueError("must be more than 0")
    return text


def literal(text: str) -> str:
    """Escapes a text so that it arrives unchanged: Kubernetes substitutes ``$(NAME)`` in arguments and values, Compose
    ``$NAME``. Both read ``$$`` as ``$``."""
    return text.replace("$", "$$")


def plain(text: str) -> str:
    """The inverse of :func:`literal`."""
    return text.replace("$$", "$")


def quantity(size: int) -> str:
    """Bytes as a quantity, in the largest unit that is exact."""
    for unit, power in (("Gi", 3), ("Mi", 2), ("Ki", 1)):
        if size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return str(size)
