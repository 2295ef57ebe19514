"""The picture of a running study: a status, then one row a trial, always within the terminal it is drawn for.

Everything is text that was measured to fit: a row whose configuration is long takes two lines, and rows that do not
fit give way, the oldest first; the default, the best and what runs now stay. Where there is no terminal,
:class:`PlainLines` prints one line a change instead.
"""

from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from autotuner.cli.texts import duration_text
from autotuner.report.numbers import one_line
from autotuner.study.metric import Direction
from autotuner.study.objective import Objective
from autotuner.study.simulated import MARK
from autotuner.study.trial import TrialRole
from autotuner.tuning.view import Row, StudyView

TITLES = ("trial", "phase", "what is set", "tokens/s", "p99 TTFT", "SLO")
_GAP = 2
_SLO_WIDTH = 16
_LEAST_WHAT = 16
"""Columns for what is set, however narrow the terminal."""
_NOTICES = 2


def live_table(view: StudyView, objective: Objective, *, now: float, width: int, height: int) -> Group:
    """The study at the time ``now`` (seconds since the epoch) in at most ``height`` lines of ``width`` columns."""
    best = best_row(view, objective)
    notices = view.notices[-_NOTICES:] if height >= 12 else []
    warning = [Text(f"! {text}", style="bold yellow")] if (text := view.simulated()) else []
    head = [_status(view, now), *warning, _best(view, best, objective), *_running(view)]
    if height < 8:
        head = head[: 1 + len(warning)]
    room = height - len(head) - 1 - len(notices)
    widths = _widths(list(view.rows.values()), best, width)
    rows = _fitting(view, best, room, widths[2])
    grid = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for title, column in zip(TITLES, widths, strict=True):
        justify = "right" if title in {"trial", "tokens/s", "p99 TTFT"} else "left"
        grid.add_column(title, justify=justify, width=column, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    hidden = len(view.rows) - len(rows)
    for i, row in enumerate(rows):
        if hidden and i and row.number - rows[i - 1].number > 1:
            grid.add_row("…", "", Text(f"{hidden} more", style="dim"))
            hidden = 0
        cells = _cells(row, best is row)
        cells[2] = Text("\n").join(_lines(cells[2], widths[2]))
        grid.add_row(*cells)
    warned = [Text(f"! {one_line(text)}", style="yellow") for text in notices]
    return Group(*(_cut(line, width) for line in head), grid, *(_cut(line, width) for line in warned))


def best_row(view: StudyView, objective: Objective) -> Row | None:
    """The best feasible row by the first objective; repeats aside, and what may not be ranked."""
    usable = [r for r in view.finished() if r.feasible and r.rankable and r.role is not TrialRole.CONFIRM]
    found = [r for r in usable if r.objective is not None]
    pick = max if objective.direction is Direction.MAX else min
    return pick(found, key=lambda r: r.objective or 0.0) if found else None


def _fitting(view: StudyView, best: Row | None, room: int, width: int) -> list[Row]:
    """The rows that fit into ``room`` lines, in order, where what is set has ``width`` columns."""
    rows = list(view.rows.values())
    default = next((r for r in reversed(rows) if r.role is TrialRole.DEFAULT), None)
    running = [r for r in rows if r.state == "running"]
    wanted = [*running[::-1], *(r for r in (default, best) if r), *rows[::-1]]
    height = {row.number: len(_lines(_cells(row, best is row)[2], width)) for row in rows}
    if sum(height.values()) <= room:
        return rows
    chosen: set[int] = set()
    left = room - 1
    for row in wanted:
        if row.number not in chosen:
            if height[row.number] > left:
                break
            left -= height[row.number]
            chosen.add(row.number)
    return [r for r in rows if r.number in chosen]


def _widths(rows: Sequence[Row], best: Row | None, width: int) -> list[int]:
    """Column widths: what the content needs; what is set gets the rest."""
    cells = [_cells(row, best is row) for row in rows]
    found = [max(len(title), *(c[i].cell_len for c in cells), 0) for i, title in enumerate(TITLES)]
    found[1] = max(found[1], len("measuring"))
    found[5] = min(max(found[5], len("met, best")), _SLO_WIDTH)
    found[2] = max(_LEAST_WHAT, width - sum(found[:2]) - sum(found[3:]) - _GAP * (len(TITLES) - 1))
    return found


def _lines(text: Text, width: int) -> list[Text]:
    """At most two lines."""
    lines = list(text.wrap(_RULER, width))
    if len(lines) > 2:
        lines = [lines[0], Text(text.plain[len(lines[0].plain) :].lstrip(), style=text.style)]
        lines[1].truncate(width, overflow="ellipsis")
    return lines or [text]


_RULER = Console(width=80, legacy_windows=False)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line


def _status(view: StudyView, now: float) -> Text:
    text = Text(view.study, style="bold")
    if not view.planned():
        text.append("  starting", style="not bold")
        return text
    text.append(f"  {len(view.finished())} of at most {view.planned()} launches", style="not bold")
    if view.started_at is not None and view.state == "running":
        text.append(f", {duration_text(now - view.started_at)} so far", style="not bold")
    eta = view.eta_s(now)
    if eta is not None:
        text.append(f", about {duration_text(eta)} to go", style="not bold")
    if view.state != "running":
        text.append(f"  {view.state}" + (f": {one_line(view.why)}" if view.why else ""), style="not bold")
    return text


def _best(view: StudyView, best: Row | None, objective: Objective) -> Text:
    if best is None:
        return Text("no configuration meets the SLOs yet" if view.finished() else "", style="dim")
    return Text(f"best so far ({objective.text}): trial {best.number}, {_what(best)}", style="green")


def _running(view: StudyView) -> list[Text]:
    """What is being measured right now; one line, also where trials run side by side."""
    found = []
    for row in view.rows.values():
        if row.state == "running" and row.phase != "done":
            clock = ""
            if row.phase in {"warming", "measuring"} and row.total_s:
                clock = f", {min(row.elapsed_s, row.total_s):.0f} of {row.total_s:.0f} s"
            found.append(f"trial {row.number} {row.phase}{f' {row.where}' if row.where else ''}{clock}")
    return [Text("now: " + "; ".join(found), style="cyan")] if found else []


def _what(row: Row) -> str:
    text = one_line(row.configuration.text)
    if row.role is TrialRole.CONFIRM:
        text = f"repeat of {row.repeat_of}"
    if row.gpus:
        text = f"{text}, {row.gpus} GPU{'s' if row.gpus > 1 else ''}"
    return f"{text} ({MARK})" if row.simulated else text


def _cells(row: Row, best: bool) -> list[Text]:
    style = "bold green" if best else ""
    rate = f"{row.output_throughput:,.0f}" if row.output_throughput is not None else ""
    wait = f"{row.p99_ttft * 1000:,.0f} ms" if row.p99_ttft is not None else ""
    cells = (str(row.number), row.phase, _what(row), rate, wait)
    return [*(Text(cell, style=style if i != 1 else "") for i, cell in enumerate(cells)), _slo(row, best)]


def _slo(row: Row, best: bool) -> Text:
    """Whether the SLOs hold, or why there is no answer."""
    cause = row.note.partition(":")[0].replace("_", " ")
    if row.state == "failed":
        return Text(cause or "failed", style="red")
    if row.state == "void":
        return Text("not counted", style="yellow")
    if row.feasible is None:
        return Text("")
    if cause:
        return Text(cause, style="yellow")
    if best:
        return Text("met, best", style="bold green")
    return Text("met", style="green") if row.feasible else Text("not met", style="red")


class PlainLines:
    """One line per change, for logs and pipes."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: dict[int, str] = {}
        self._notices = 0
        self._warned = ""

    def update(self, view: StudyView) -> None:
        """Says what is new."""
        for notice in view.notices[self._notices :]:
            self._say(f"! {one_line(notice)}")
        self._notices = len(view.notices)
        warning = view.simulated()
        if warning.partition(":")[0] != self._warned:
            self._warned = warning.partition(":")[0]
            self._say(f"! {warning}")
        for row in view.rows.values():
            now = row.state if row.phase == "done" else row.phase
            if self._said.get(row.number) != now and now in {"launching", "measuring", "done", "failed", "void"}:
                self._said[row.number] = now
                self._say(_plain(row, now))


def _plain(row: Row, now: str) -> str:
    _, _, what, rate, wait, slo = (cell.plain for cell in _cells(row, best=False))
    start = f"trial {row.number}  {now:9}  {what}"
    if now in {"launching", "measuring"}:
        return start
    facts = (f"{rate} tokens/s" if rate else "", f"p99 TTFT {wait}" if wait else "", _goals(slo))
    note = one_line(row.note.partition(": ")[2])
    return "  ".join(p for p in (start, *facts, note) if p)


def _goals(slo: str) -> str:
    return f"SLO {slo}" if slo in {"met", "not met"} else slo
