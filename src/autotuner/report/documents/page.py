"""The report as one HTML file: the web UI's components, built into one page, with the data of a study inside.

The page loads nothing. Its content security policy names its script and its style by their hashes, so nothing else can
run, whatever the data contain.
"""

import html
import json
from pathlib import Path
from typing import Any

from autotuner.errors import EnvironmentFaultError
from autotuner.plain_text import blank_unprintable

PAGE = Path(__file__).parent / "static" / "report.html"
"""The page without data, which ``make ui`` builds and the wheel contains."""
_TITLE = "autotuner-report-title"
_TEXT = "autotuner-report-text"
_DATA = '"autotuner-report-data"'
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Characters that could end the element with the data, or a line of a script. Only strings of JSON contain them."""


class ReportPageMissingError(EnvironmentFaultError):
    """This installation has no page for reports, because the web UI was not built."""

    def __init__(self) -> None:
        super().__init__(
            "the HTML report is drawn by the web UI, which is not part of this installation",
            remedy="in a checkout, build it with: make ui; or use --format md",
        )


def is_built() -> bool:
    """Whether this installation can write HTML reports."""
    return PAGE.is_file()


def page(title: str, text: str, data: dict[str, Any]) -> str:
    """Fills the page.

    Args:
        title: Title of the document.
        text: The report as text, for readers without scripts.
        data: What the page shows: plain data without secrets.

    Returns:
        The HTML document.

    Raises:
        ReportPageMissingError: If the web UI is not built.
    """
    try:
        empty = PAGE.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ReportPageMissingError from None
    filled = [
        (_TITLE, html.escape(blank_unprintable(title))),
        (_TEXT, html.escape(text)),
        (_DATA, embedded(data)),
    ]
    parts = []
    for place, content in filled:
        before, found, empty = empty.partition(place)
        assert found, place  # noqa: S101 - the build has these places, in this order
        parts += [before, content]
    return "".join([*parts, empty])


def embedded(data: dict[str, Any]) -> str:
    """Plain data as JSON that no value can break out of, within an element of HTML."""
    written = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escaped in _IN_SCRIPT.items():
        written = written.replace(character, escaped)
    return written
