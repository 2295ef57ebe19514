"""HTML and SVG as values: every string is escaped, and only :class:`Html` is not.

A study's name, a log line or a flag's value is a ``str`` and can therefore not inject markup, without anyone having to
remember to escape it. Only constants of this program are wrapped in :class:`Html` by hand.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

VOID = frozenset({"meta", "br", "hr", "link", "input", "img"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_CONTROL = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127, *range(55296, 57344)), "�")


@dataclass(frozen=True)
class Html:
    """Finished markup."""

    text: str


Child = Html | str | int | None | Iterable["Child"]
"""Numbers and strings are text; None is nothing."""


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """Builds an element.

    Args:
        name: Name of the element.
        children: Its content, see :data:`Child`.
        attributes: ``class_`` is ``class``; other underscores in names become hyphens. An attribute that is None or
            False is omitted, one that is True has no value.

    Raises:
        ValueError: If a name is invalid.
    """
    words = [name]
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        if not _NAME.fullmatch(attribute):
            raise ValueError(f"invalid attribute name: {key}")
        if value is True:
            words.append(attribute)
        elif value is not None and value is not False:
            words.append(f'{attribute}="{escaped(_number(value) if isinstance(value, float) else str(value))}"')
    if not _NAME.fullmatch(name):
        raise ValueError(f"invalid element name: {name}")
    start = f"<{' '.join(words)}>"
    return Html(start) if name in VOID else Html(f"{start}{joined(children).text}</{name}>")


def joined(children: Child) -> Html:
    """Concatenates children."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str | int):
        return Html(escaped(str(children)))
    return Html("".join(joined(child).text for child in children))


def escaped(text: str) -> str:
    """Escapes text for content and attributes; control characters become the replacement character."""
    return escape(text.translate(_CONTROL), quote=True)


def _number(value: float) -> str:
    """Rounds a coordinate to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
