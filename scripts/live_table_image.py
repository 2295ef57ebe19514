"""A picture of the live table for the README, from the stored events of a real run: ``make quickstart``, then
``.venv/bin/python scripts/live_table_image.py``.

The picture shows one moment of the run in a terminal of 100 columns.
"""

import argparse
import io
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

from autotuner.cli.live_table import live_table
from autotuner.events.follow import read
from autotuner.events.view import StudyView
from autotuner.store import Store

COLUMNS = 100
LINES = 30


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description="Draw the live table of a stored run.")
    parser.add_argument("study", nargs="?", default="quickstart")
    parser.add_argument("--out", type=Path, default=Path("docs/images/live-table.svg"))
    parser.add_argument("--at", type=float, default=0.88, help="fraction of the run's events to show")
    options = parser.parse_args()
    with Store.open() as store:
        record = store.studies.get(options.study)
        events = read(store, options.study, limit=1_000_000)
    if record is None or not events:
        parser.error(f"no stored run of {options.study}; create one with: make quickstart")
    events = events[: max(1, round(options.at * len(events)))]
    view = StudyView(options.study)
    view.apply(events)
    console = Console(record=True, width=COLUMNS, height=LINES, file=io.StringIO(), force_terminal=True)
    source = Path(record.source)
    shown = source.relative_to(Path.cwd()) if source.is_relative_to(Path.cwd()) else source.name
    console.print(f"$ autotuner run {shown}", style="dim", highlight=False)
    console.print(live_table(view, record.spec, now=events[-1].at, width=COLUMNS, height=LINES - 2))
    svg = console.export_svg(title="autotuner", theme=DIMMED_MONOKAI, unique_id="live-table")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # no font is downloaded; any monospace font works
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(svg, encoding="utf-8")
    print(f"{options.out}: {options.study} after {events[-1].at - events[0].at:.0f} s")


if __name__ == "__main__":
    main()
