"""Prometheus' text format, as much of it as sampling needs: the samples of known names.

Of the hundreds of lines of a server's text, a dozen are wanted. One malformed line must not cost the others, and the
sampler's process must start quickly; prometheus-client's parser raises at the first malformed line and builds an object
per sample.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from math import isfinite

LONGEST_LINE = 4096
MOST_SERIES = 256
"""Label sets in one text. An engine has a handful per replica; a text with more is not read on."""

_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*\s*=\s*"(?:[^"\\]|\\.)*"'
_SAMPLE = re.compile(
    rf"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\s*\{{\s*(?P<labels>(?:{_LABEL}(?:\s*,\s*{_LABEL})*\s*,?)?)\s*\}}\s*|\s+)"
    r"(?P<value>[^\s{}]+)(?:\s+-?\d+)?\s*"
)
_ONE_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


@dataclass
class Samples:
    """What one text says of the wanted names."""

    values: dict[str, float] = field(default_factory=dict)
    """By series: the name, with its labels in braces as the text has them."""
    unreadable: int = 0
    """Lines of a wanted name that are not samples, or whose value is not a finite number."""
    cut: bool = False
    """There were more series than :data:`MOST_SERIES`."""


def read_samples(text: str, names: Collection[str]) -> Samples:
    """The samples whose name is wanted. Every other line is skipped unread, whatever it holds."""
    found = Samples()
    prefixes = tuple(names)
    for line in text.split("\n"):
        if not line.startswith(prefixes):
            continue
        match = _SAMPLE.fullmatch(line) if len(line) <= LONGEST_LINE else None
        if match is None:
            found.unreadable += 1
        elif match["name"] in names:
            _keep(found, match)
        if found.cut:
            break
    return found


def _keep(found: Samples, match: re.Match[str]) -> None:
    value = _number(match["value"])
    if value is None:
        found.unreadable += 1
        return
    labels = (match["labels"] or "").strip()
    series = f"{match['name']}{{{labels}}}" if labels else match["name"]
    if series not in found.values and len(found.values) >= MOST_SERIES:
        found.cut = True
        return
    found.values[series] = value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def split_series(series: str) -> tuple[str, dict[str, str]]:
    """Name and labels of a series, as :class:`Samples` spells it."""
    name, _, rest = series.partition("{")
    return name, {label: _ESCAPED.sub(_unescaped, text) for label, text in _ONE_LABEL.findall(rest)}


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
