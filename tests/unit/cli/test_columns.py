"""Tables for stdout: the same as rich draws them, in a fraction of the time."""

import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from autotuner.cli.columns import Column, fit_columns, grid, render, table_text

COLUMNS = (
    Column("rank", align="right", drop=2),
    Column("what is\nmeasured", wraps=True),
    Column("tokens/s", align="right"),
    Column("state", drop=1, max_width=9),
)
STYLES = ("", "red", "bold green")
_TEXT = st.text(alphabet="ab -,\t漢é↳", max_size=40)


@st.composite
def cells(draw: st.DrawFn) -> Text:
    """A cell with a style, or with lines that have one each."""
    lines = [Text(draw(_TEXT) + "c", style=draw(st.sampled_from(STYLES))) for _ in range(draw(st.integers(1, 3)))]
    return lines[0] if len(lines) == 1 else Text("\n").join(lines)


def looks(text: str) -> list[list[tuple[str, str]]]:
    """Each character with its style, line by line, without spaces at the end; the style of spaces is invisible."""
    console = Console()
    found = []
    for line in text.splitlines():
        shown = Text.from_ansi(line)
        shown.rstrip()
        places = enumerate(shown.plain)
        found.append([(c, "" if c == " " else str(shown.get_style_at_offset(console, i))) for i, c in places])
    return found


@pytest.mark.parametrize("terminal", [False, True])
@given(rows=st.lists(st.tuples(*[cells()] * len(COLUMNS)), max_size=4), width=st.integers(20, 90))
def test_a_table_looks_as_rich_draws_it(terminal: bool, rows: Sequence[Sequence[Text]], width: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
        patch.setenv("TERM", "xterm-256color")
        patch.delenv("NO_COLOR", raising=False)
        drawn = render(grid(COLUMNS, rows, fit_columns(COLUMNS, rows, width)), width)
        assert looks(table_text(COLUMNS, rows, width=width)) == looks(drawn)
