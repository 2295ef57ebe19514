"""HTML and SVG as values: text is escaped because it is text, and only :class:`Html` is not.

Nothing has to be remembered when a page is written: a study's name, a log line or a flag's value is a ``str`` and comes
out inert. Only constants of this program are wrapped in :class:`Html` by hand.
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
    """An element; ``class_`` is ``class``, other underscores in attribute names are hyphens.

    An attribute that is None or False is left out, one that is True has no value. Raises ValueError for a name that is
    not one.
    """
    words = [name]
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        if not _NAME.fullmatch(attribute):
            raise ValueError(f"not an attribute's name: {key}")
        if value is True:
            words.append(attribute)
        elif value is not None and value is not False:
            words.append(f'{attribute}="{escaped(_number(value) if isinstance(value, float) else str(value))}"')
    if not _NAME.fullmatch(name):
        raise ValueError(f"not an element's name: {name}")
    start = f"<{' '.join(words)}>"
    return Html(start) if name in VOID else Html(f"{start}{joined(children).text}</{name}>")


def joined(children: Child) -> Html:
    """Children one after the other."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str | int):
        return Html(escaped(str(children)))
    return Html("".join(joined(child).text for child in children))


def escaped(text: str) -> str:
    """Text that can be neither markup nor the end of an attribute; control characters become a replacement mark."""
    return escape(text.translate(_CONTROL), quote=True)


def _number(value: float) -> str:
    """Coordinates need no more than a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
