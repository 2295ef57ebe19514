"""Tables of the report."""

from collections.abc import Sequence

from autotuner.report.html.markup import Child, Html, element

MOST_ROWS = 200
"""Rows of a table with a row per window; more are in the CSV export."""


def left_out_note(total: int, what: str = "") -> list[Child]:
    """Where the rows beyond the first :data:`MOST_ROWS` are; empty if there are none.

    Args:
        total: Number of rows.
        what: What a row is, in the plural.
    """
    if total <= MOST_ROWS:
        return []
    more = f"more {what}".strip()
    return [element("p", f"{total - MOST_ROWS} {more} are in the CSV export.", class_="small")]


def cell(content: Child, *, number: bool = False) -> Html:
    """A cell of a table's body."""
    return element("td", content, class_="number" if number else None)


def table(caption: str, heads: Sequence[str], rows: Sequence[Html], *, numbers: Sequence[int] = ()) -> Html:
    """A table in a box that can be scrolled, also with the keyboard."""
    titles = [
        element("th", head, scope="col", class_="number" if i in numbers else None) for i, head in enumerate(heads)
    ]
    made = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", titles)),
        element("tbody", rows),
    )
    return element("div", made, class_="scroll", role="region", aria_label=caption, tabindex="0")
