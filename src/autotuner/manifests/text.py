"""Texts as Kubernetes takes them: quantities, label values, and words that look like variables."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

_LABEL = 63
_DIGEST = 8
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
        raise ValueError(f"{text} is no quantity; write e.g. 500m, 4, 512Mi or 16Gi")
    return float(match[1]) * _FACTORS.get(match[2] or "", 1.0)


def positive(value: Any) -> Any:
    """A quantity above zero as text; anything else is left to the type check. Raises ValueError."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if isinstance(text, str) and amount(text) <= 0:
        raise ValueError("must be more than 0")
    return text


def label_value(text: str) -> str:
    """Any text as a label's value: itself where Kubernetes allows it, else its beginning and a digest."""
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        return text
    bare = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[: _LABEL - 1 - _DIGEST].strip("._-") or "x"
    return f"{bare}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]}"


def literal(text: str) -> str:
    """A text that arrives as it is: Kubernetes puts variables in place of ``$(NAME)`` in arguments and values."""
    return text.replace("$", "$$")


def plain(text: str) -> str:
    """The inverse of :func:`literal`."""
    return text.replace("$$", "$")


def root_of(file: str, roots: Sequence[str]) -> str | None:
    """The root that a path lies under."""
    path = PurePosixPath(file)
    return next((root for root in roots if ".." not in path.parts and path.is_relative_to(root)), None)
