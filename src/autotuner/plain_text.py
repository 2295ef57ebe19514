"""Text from files, servers and logs, made safe to display: without control characters and line breaks.

The functions differ in what they put in place of a character that is not printable: a space (*blank*), its escape
sequence (*escape*) or U+FFFD (*mark*). Those whose names end in ``line`` also join all lines into one.
"""

import re

SCANNED = 16 * 1024
"""Characters of a text that :func:`escaped_line` looks at; the rest would be cut off in any case."""
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal interprets instead of showing them, or cannot encode: control characters except tab and
line feed, overrides of the text's direction, lone surrogates."""


def joined_line(text: str) -> str:
    """The text with a single space for each run of white space; control characters stay."""
    return " ".join(text.split())


def blank_unprintable(text: str) -> str:
    """The text with a space for each line break and each other character that is not printable; its length stays."""
    return "".join(c if c.isprintable() else " " for c in text)


def blanked_line(text: str) -> str:
    """One line, without the characters that are not printable."""
    return joined_line(blank_unprintable(text))


def marked_line(text: str) -> str:
    """One line, with U+FFFD for each character that is not printable, so that a reader sees where one was."""
    return "".join(c if c.isprintable() else "\ufffd" for c in joined_line(text))


def escaped_line(text: str, *, longest: int) -> str:
    """One line of at most ``longest`` characters, with escape sequences for those that are not printable."""
    return shortened(escape_unprintable(joined_line(text[:SCANNED])), longest)


def escape_unprintable(text: str, *, keep: str = "") -> str:
    """The text with an escape sequence for each character that is neither printable nor one of ``keep``."""
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def escape_controls(text: str) -> str:
    """The text with escape sequences for what a terminal would interpret, except tabs and line feeds."""
    return _CONTROLS.sub(lambda m: m[0].encode("unicode_escape").decode(), text)


def shortened(text: str, longest: int) -> str:
    """The text, cut to ``longest`` characters with ``...`` at its end where it is longer."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
