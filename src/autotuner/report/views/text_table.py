"""Tables of texts for people: figures that reports show beside the plots."""

from collections.abc import Sequence

from autotuner.study.base import FrozenModel

MOST_ROWS = 200
"""Rows of a table; more are in the CSV export."""
UNKNOWN = "-"


class TextTable(FrozenModel):
    """A table whose cells are texts."""

    title: str
    note: str
    """What the figures are; empty if the title says it all."""
    heads: tuple[str, ...]
    numbers: tuple[int, ...]
    """Columns of numbers."""
    rows: tuple[tuple[str, ...], ...]
    left_out: int
    """Further rows, which the CSV export has."""


def text_table(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = (), note: str = ""
) -> TextTable | None:
    """Builds a table of at most :data:`MOST_ROWS` rows, without the columns that have no value in any of them.

    Args:
        title: What the rows are.
        heads: Titles of the columns.
        rows: One string per column; a dash stands for a missing value.
        numbers: Indices of the columns of numbers.
        note: What the figures are.

    Returns:
        The table; None if it has no row.
    """
    if not rows:
        return None
    shown = rows[:MOST_ROWS]
    known = [i for i in range(len(heads)) if any(row[i] != UNKNOWN for row in shown)]
    return TextTable(
        title=title,
        note=note,
        heads=tuple(heads[i] for i in known),
        numbers=tuple(index for index, i in enumerate(known) if i in numbers),
        rows=tuple(tuple(row[i] for i in known) for row in shown),
        left_out=len(rows) - len(shown),
    )
