"""Tables that fit the terminal: unimportant columns are dropped, one column wraps, and nothing else is cut."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2
"""Spaces between two columns."""
PIPE_WIDTH = 200
"""Width without a terminal, unless COLUMNS is set."""
MIN_WRAP_WIDTH = 16
"""Minimum width of the column that wraps."""


@dataclass(frozen=True)
class Column:
    """One column. ``title`` may have several lines."""

    title: str
    align: Literal["left", "right"] = "left"
    drop: int = 0
    """On a narrow screen, columns with the highest number are dropped first; 0: never dropped."""
    wraps: bool = False
    """Whether the column takes the remaining width and continues on further lines; one column of a table does."""
    max_width: int | None = None
    """Longer cells are cut with an ellipsis."""


def fit_columns(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[tuple[int, int]]:
    """Chooses the columns to show.

    Args:
        columns: All columns, in order.
        rows: The cells of each row.
        width: Width of the screen, in characters.

    Returns:
        (index, width) of each column to show. Together they fit into ``width``, unless the columns that are never
        dropped are too wide.
    """
    wanted = {i: _content(column, [row[i] for row in rows]) for i, column in enumerate(columns)}
    shown = list(range(len(columns)))
    while True:
        fixed = sum(wanted[i] for i in shown if not columns[i].wraps) + GAP * (len(shown) - 1)
        text = [i for i in shown if columns[i].wraps]
        least = sum(min(wanted[i], MIN_WRAP_WIDTH) for i in text)
        droppable = [i for i in shown if columns[i].drop]
        if fixed + least <= width or not droppable:
            break
        shown.remove(max(droppable, key=lambda i: (columns[i].drop, i)))
    for i in text:
        wanted[i] = min(wanted[i], max(min(wanted[i], MIN_WRAP_WIDTH), width - fixed))
    return [(i, wanted[i]) for i in shown]


def _content(column: Column, cells: Sequence[Text]) -> int:
    lines = [Text(line) for line in column.title.split("\n")]
    for cell in cells:
        lines += cell.split("\n")
    widest = max((line.cell_len for line in lines), default=0)
    return widest if column.max_width is None else min(widest, column.max_width)


def grid(columns: Sequence[Column], rows: Sequence[Sequence[Text]], shown: Sequence[tuple[int, int]]) -> Table:
    """Builds the table of the columns that :func:`fit_columns` chose."""
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for i, wide in shown:
        column = columns[i]
        table.add_column(
            column.title,
            justify=column.align,
            width=wide,
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
        )
    for row in rows:
        table.add_row(*(row[i] for i, _ in shown))
    return table


def screen_width() -> int:
    """Returns the width of the terminal; without one, COLUMNS or a width at which nothing is cut."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return shutil.get_terminal_size().columns
    return PIPE_WIDTH


def table_text(columns: Sequence[Column], rows: Sequence[Sequence[Text]], *, width: int | None = None) -> str:
    """Renders a table for stdout: styled on a terminal, plain elsewhere."""
    width = screen_width() if width is None else width
    return render(grid(columns, rows, fit_columns(columns, rows, width)), width)


def render(what: Table | Text, width: int) -> str:
    """Renders a rich object for stdout."""
    terminal = sys.stdout.isatty()
    console = Console(width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(what)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())
