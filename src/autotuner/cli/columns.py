"""Tables that fit the terminal: unimportant columns are dropped, one column wraps, and nothing else is cut."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style
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
    lines = column.title.split("\n")
    for cell in cells:
        lines += cell.plain.split("\n")
    widest = max(map(cell_len, lines), default=0)
    return widest if column.max_width is None else min(widest, column.max_width)


def grid(columns: Sequence[Column], rows: Sequence[Sequence[Text]], shown: Sequence[tuple[int, int]]) -> Table:
    """Builds the table of the columns that :func:`fit_columns` chose, for the live screen."""
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
    shown = fit_columns(columns, rows, width)
    if sum(wide for _, wide in shown) + GAP * (len(shown) - 1) > width:
        return render(grid(columns, rows, shown), width)  # which makes columns narrower than their cells
    # Of thousands of rows, a table of rich takes seconds: it measures, pads and crops every cell several times.
    console = _console(width)
    titles = [Text(column.title, style="bold") for column in columns]
    segments = list(_row_segments(columns, titles, shown, console, at_bottom=True))
    for row in rows:
        segments += _row_segments(columns, row, shown, console)
    return _printed(console, Segments(segments))


def _row_segments(
    columns: Sequence[Column],
    cells: Sequence[Text],
    shown: Sequence[tuple[int, int]],
    console: Console,
    *,
    at_bottom: bool = False,
) -> Iterator[Segment]:
    """The lines of one row, as the table of :func:`grid` would have them."""
    blocks = [_cell_lines(columns[i], cells[i], wide, console) for i, wide in shown]
    height = max(map(len, blocks))
    if at_bottom:
        blocks = [[[Segment(" " * wide)]] * (height - len(b)) + b for b, (_, wide) in zip(blocks, shown, strict=True)]
    for line in range(height):
        for number, (block, (_, wide)) in enumerate(zip(blocks, shown, strict=True)):
            if number:
                yield Segment(" " * GAP)
            if line < len(block):
                yield from block[line]
            else:
                yield Segment(" " * wide)
        yield Segment.line()


def _cell_lines(column: Column, cell: Text, wide: int, console: Console) -> list[list[Segment]]:
    """The lines of a cell, each as wide as its column."""
    plain = cell.plain.rstrip() if column.align == "right" else cell.plain
    if not cell.spans and "\n" not in plain and "\t" not in plain and (spare := wide - cell_len(plain)) >= 0:
        padding = " " * spare
        padded = padding + plain if column.align == "right" else plain + padding
        return [[Segment(padded, _style(cell, console))]]
    wrapped = cell.wrap(
        console,
        wide,
        justify=column.align,
        overflow="fold" if column.wraps else "ellipsis",
        no_wrap=not column.wraps,
    )
    return [_line_segments(line, console) for line in wrapped]


def _line_segments(line: Text, console: Console) -> list[Segment]:
    # Rendering leaves out the style of text without spans.
    return list(line.render(console)) if line.spans else [Segment(line.plain, _style(line, console))]


def _style(text: Text, console: Console) -> Style | None:
    return console.get_style(text.style) if text.style else None


def render(what: Table | Text, width: int) -> str:
    """Renders a rich object for stdout."""
    return _printed(_console(width), what)


def _console(width: int) -> Console:
    return Console(width=width, force_terminal=sys.stdout.isatty(), highlight=False, markup=False, emoji=False)


def _printed(console: Console, what: Table | Text | Segments) -> str:
    with console.capture() as captured:
        console.print(what, crop=not isinstance(what, Segments))
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())
