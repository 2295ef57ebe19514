"""Tables that fit the terminal: the least important columns give way, the long text wraps, nothing else is cut."""

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
"""Width where there is no terminal and COLUMNS is not set."""
LEAST_TEXT = 16
"""Columns of the screen that the wrapping column keeps."""


@dataclass(frozen=True)
class Column:
    """One column. ``title`` may have several lines."""

    title: str
    align: Literal["left", "right"] = "left"
    drop: int = 0
    """Columns with the highest number go first where the screen is narrow; 0 always stays."""
    wraps: bool = False
    """Takes the width that is left, and continues on further lines. One column of a table does."""
    most: int | None = None
    """Widest; longer cells are cut with an ellipsis."""


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[tuple[int, int]]:
    """Which columns are shown, as (index, width) pairs that fit into ``width`` columns of the screen together.

    Only where the columns that always stay are too wide, the sum is more.
    """
    wanted = {i: _content(column, [row[i] for row in rows]) for i, column in enumerate(columns)}
    shown = list(range(len(columns)))
    while True:
        fixed = sum(wanted[i] for i in shown if not columns[i].wraps) + GAP * (len(shown) - 1)
        text = [i for i in shown if columns[i].wraps]
        least = sum(min(wanted[i], LEAST_TEXT) for i in text)
        droppable = [i for i in shown if columns[i].drop]
        if fixed + least <= width or not droppable:
            break
        shown.remove(max(droppable, key=lambda i: (columns[i].drop, i)))
    for i in text:
        wanted[i] = min(wanted[i], max(min(wanted[i], LEAST_TEXT), width - fixed))
    return [(i, wanted[i]) for i in shown]


def _content(column: Column, cells: Sequence[Text]) -> int:
    lines = [Text(line) for line in column.title.split("\n")]
    for cell in cells:
        lines += cell.split("\n")
    widest = max((line.cell_len for line in lines), default=0)
    return widest if column.most is None else min(widest, column.most)


def grid(columns: Sequence[Column], rows: Sequence[Sequence[Text]], shown: Sequence[tuple[int, int]]) -> Table:
    """The table of the chosen columns; see :func:`fitted`."""
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
    """Columns of the terminal; elsewhere COLUMNS, or so many that nothing is cut."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return shutil.get_terminal_size().columns
    return PIPE_WIDTH


def table_text(columns: Sequence[Column], rows: Sequence[Sequence[Text]], *, width: int | None = None) -> str:
    """The table as text for stdout: styled on a terminal, plain elsewhere."""
    width = screen_width() if width is None else width
    return drawn(grid(columns, rows, fitted(columns, rows, width)), width)


def drawn(what: Table | Text, width: int) -> str:
    """Text of something that rich can draw, for stdout."""
    terminal = sys.stdout.isatty()
    console = Console(width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(what)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())
