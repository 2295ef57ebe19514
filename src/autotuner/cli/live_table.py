"""The live table of a study: its status, then one row per trial, always within the size of the terminal.

It has one column per objective and SLO. A long configuration takes two lines. If not all rows fit, the oldest are
hidden; the default, the best and the running trials always stay.
"""

import math

from rich.console import Console, Group
from rich.text import Text

from autotuner import scoring
from autotuner.cli.columns import Column, fit_columns, grid
from autotuner.cli.goal_columns import goal_cell, goal_columns
from autotuner.cli.texts import duration_text
from autotuner.events.view import Row, StudyView
from autotuner.plain_text import marked_line
from autotuner.report.numbers import UNSURE, percent
from autotuner.report.views.goal_texts import study_goals
from autotuner.report.views.outcome import Outcome, measured_outcome
from autotuner.study.metric import Direction
from autotuner.study.simulated import MARK
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Phase, TrialRole

_NOTICES = 2
_ROOM_FOR_NOTICES = 16
"""Lines that a terminal needs for notices in addition to the default, the best and the newest trial."""
_SHORT_WINDOW = "short window"
"""State of a trial whose short window is being measured."""
_CONFIGURATION = 2
"""Index of the column that wraps."""


def live_table(view: StudyView, spec: StudySpec, *, now: float, width: int, height: int) -> Group:
    """Draws a study.

    Args:
        view: The state of the study.
        spec: The study.
        now: Current time in seconds since the epoch.
        width: Width of the terminal, in characters.
        height: Maximum number of lines.
    """
    best = best_row(view, spec)
    notices = view.notices[-_NOTICES:] if height >= _ROOM_FOR_NOTICES else []
    warning = [Text(f"! {text}", style="bold yellow")] if (text := view.simulated()) else []
    head = [_status(view, now), *warning, _best(view, best, spec), *_running(view)]
    if height < 9:
        head = head[: 1 + len(warning)]
    columns = _columns(spec)
    cells = {row.number: row_cells(view, row, spec, best) for row in view.rows.values()}
    shown = fit_columns(columns, list(cells.values()), width)
    text_width = dict(shown)[_CONFIGURATION]
    titles = max(columns[i].title.count("\n") + 1 for i, _ in shown)
    room = max(0, height - len(head) - titles - len(notices))
    rows = _fitting(view, best, room, {n: len(_lines(c[_CONFIGURATION], text_width)) for n, c in cells.items()})
    hidden = len(view.rows) - len(rows)
    body: list[list[Text]] = []
    for i, row in enumerate(rows):
        if hidden and i and row.number - rows[i - 1].number > 1:
            gap = [Text("") for _ in columns]
            gap[0] = Text("…")
            gap[_CONFIGURATION] = Text(f"{hidden} more", style="dim")
            body.append(gap)
            hidden = 0
        own = cells[row.number]
        own[_CONFIGURATION] = Text("\n").join(_lines(own[_CONFIGURATION], text_width))
        body.append(own)
    warned = [Text(f"! {marked_line(text)}", style="yellow") for text in notices]
    return Group(*(_cut(t, width) for t in head), grid(columns, body, shown), *(_cut(t, width) for t in warned))


def best_row(view: StudyView, spec: StudySpec) -> Row | None:
    """Returns the best feasible row by the first objective. Repeats, rows that may not be ranked, and rows refuted by a
    repeat are excluded."""
    usable = [r for r in view.finished() if r.feasible and r.rankable and r.role is not TrialRole.CONFIRM]
    refuted = {r.repeat_of for r in view.finished() if r.repeat_of is not None and not r.feasible}
    found = [r for r in usable if r.objective is not None and r.number not in refuted]
    pick = max if spec.objectives[0].direction is Direction.MAX else min
    return pick(found, key=lambda r: r.objective or 0.0) if found else None


def _columns(spec: StudySpec) -> list[Column]:
    return [
        Column("trial", align="right"),
        Column("state"),
        Column("configuration", wraps=True),
        *goal_columns(spec),
        Column(f"vs {spec.reference_word}", align="right", drop=1),
    ]


def row_cells(view: StudyView, row: Row, spec: StudySpec, best: Row | None) -> list[Text]:
    """Returns one cell per column of the table."""
    style = "bold green" if row is best else ""
    left_open = slos_left_open(row)
    goals = [goal_cell(goal, spec, row.objectives, row.slos, left_open=left_open) for goal in study_goals(spec)]
    objective = spec.objectives[0]
    if row.state == "running" and objective.metric == "output_throughput" and row.output_throughput is not None:
        goals[0] = Text(f"{row.output_throughput:,.0f}", style="dim")
    for cell in goals:
        cell.style = cell.style or style
    return [
        Text(str(row.number), style=style),
        _state(row, best, spec),
        Text(configuration_text(row), style=style),
        *goals,
        Text(change_text(view, row, spec), style=style),
    ]


def change_text(view: StudyView, row: Row, spec: StudySpec) -> str:
    """Change of the first objective relative to the default, with the sign of the metric; empty for the default itself.
    If both were repeated, the repeats decide; a single pair of launches is marked with ``~``."""
    default = next((r for r in reversed(view.finished()) if r.role is TrialRole.DEFAULT), None)
    if default is None or row.state != "done" or row.role is not TrialRole.SEARCH:
        return ""
    change = scoring.change(*_compared(view, default, row, paired=spec.confirm.adaptive))
    if change is not None:
        return percent(change)
    if _ran_concurrently(view, row) is not _ran_concurrently(view, default):
        return ""  # one ran alone and the other did not, so the difference would be that of the conditions
    rough = scoring.change([default.objective], [row.objective]) if row.objective and default.objective else None
    return "" if rough is None else f"~{percent(rough)}"


def _ran_concurrently(view: StudyView, row: Row) -> bool:
    """Whether another trial ran at the same time."""
    start = row.started_at or 0.0
    end = row.finished_at or math.inf
    others = (r for r in view.rows.values() if r.number != row.number)
    return any((o.started_at or 0.0) < end and start < (o.finished_at or math.inf) for o in others)


def _compared(view: StudyView, default: Row, row: Row, *, paired: bool) -> tuple[list[float], list[float]]:
    """The first objective in the repeats of both; if blocks are compared, in those that measured both."""
    ours, theirs = (_repeats(view, side) for side in (default, row))
    if paired:
        common = sorted(ours.keys() & theirs.keys())
        return [ours[block] for block in common], [theirs[block] for block in common]
    return list(ours.values()), list(theirs.values())


def _repeats(view: StudyView, row: Row) -> dict[int, float]:
    """The first objective of the repeats by block; without a stored block, the n-th repeat belongs to block n."""
    found = {}
    for nth, repeat in enumerate((r for r in view.finished() if r.repeat_of == row.number), start=1):
        if repeat.rankable and repeat.objective is not None:
            found[nth if repeat.block is None else repeat.block] = repeat.objective
    return found


def _fitting(view: StudyView, best: Row | None, room: int, height: dict[int, int]) -> list[Row]:
    """Returns the rows that fit into ``room`` lines, in order; ``height`` has the lines that each row needs."""
    rows = list(view.rows.values())
    if sum(height.values()) <= room:
        return rows
    default = next((r for r in reversed(rows) if r.role is TrialRole.DEFAULT), None)
    running = [r for r in rows if r.state == "running"]
    wanted = [*running[::-1], *(r for r in (default, best) if r), *rows[::-1]]
    chosen: set[int] = set()
    left = room - 1  # one line says how many rows are hidden
    for row in wanted:
        if row.number not in chosen:
            if height[row.number] > left:
                break
            left -= height[row.number]
            chosen.add(row.number)
    return [r for r in rows if r.number in chosen]


def _lines(text: Text, width: int) -> list[Text]:
    """Wraps a text into at most two lines."""
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
    if view.started_at is None:
        text.append("  starting", style="not bold")
        return text
    text.append(f"  {len(view.finished())} of up to {view.planned()} launches", style="not bold")
    if view.state == "running":
        text.append(f", {duration_text(now - view.started_at)} elapsed", style="not bold")
    eta = view.eta_s(now)
    if eta is not None:
        text.append(f", up to {duration_text(eta)} left", style="not bold")
    if view.state != "running":
        text.append(f"  {view.state}" + (f": {marked_line(view.why)}" if view.why else ""), style="not bold")
    return text


def _best(view: StudyView, best: Row | None, spec: StudySpec) -> Text:
    if best is None:
        finished = view.finished()
        unranked = any(row.feasible and not row.rankable for row in finished)
        none = "no configuration is ranked yet" if unranked else "no configuration meets the SLOs yet"
        return Text(none if finished else "", style="dim")
    change = change_text(view, best, spec)
    gain = f" ({change} vs {spec.reference_word})" if change else ""
    # The end of a long line is cut off: the gain must not be there.
    text = f"best so far ({spec.objectives[0].text}): trial {best.number}{gain}, {configuration_text(best)}"
    return Text(text, style="green")


def _running(view: StudyView) -> list[Text]:
    """What is being measured right now, in one line even if trials run side by side."""
    found = []
    for row in view.rows.values():
        if row.state == "running" and row.phase != "done":
            clock = ""
            if row.phase in {"warming", "measuring"} and row.total_s:
                clock = f", {min(row.elapsed_s, row.total_s):.0f} of {row.total_s:.0f} s"
            short = " a short window," if row.short_window else ""
            found.append(
                f"trial {row.number} {phase_text(row.phase)}{short}{f' {row.where}' if row.where else ''}{clock}"
            )
    return [Text("now: " + "; ".join(found), style="cyan")] if found else []


def configuration_text(row: Row) -> str:
    """The tuned values or the number of the repeated trial, the GPUs, and the cause of a failure or why it was cut."""
    text = marked_line(row.label)
    if row.role is TrialRole.CONFIRM:
        text = f"repeat of {row.repeat_of}"
    if row.gpus:
        text = f"{text}, {row.gpus} GPU{'s' if row.gpus > 1 else ''}"
    if row.simulated:
        text = f"{text} ({MARK})"
    if row.cut:
        return f"{text}: {marked_line(row.cut)}"
    return f"{text}: {cause}" if (cause := cause_text(row)) else text


def cause_text(row: Row) -> str:
    """The cause of the failure with spaces instead of underscores; empty if there is none."""
    return row.note.partition(":")[0].replace("_", " ")


def _state(row: Row, best: Row | None, spec: StudySpec) -> Text:
    """The phase of a running trial, or the result."""
    if row.state == "failed":
        return Text("failed", style="red")
    if row.state == "void":
        return Text("not counted", style="yellow")
    if row.feasible is None:
        short = row.short_window and row.phase == "measuring"
        return Text("done" if row.state == "done" else _SHORT_WINDOW if short else phase_text(row.phase))
    if row.by_short_window:
        return Text("cut early", style="yellow" if row.feasible else "red")
    found = row_outcome(row, spec)
    if found.tone == "doubtful":
        return Text(found.text, style="yellow")
    mark = UNSURE if row.unsure else ""
    if row is best:
        return Text(f"{mark}best", style="bold green")
    return Text(f"{mark}{found.text}", style="green" if found.tone == "good" else "red")


def row_outcome(row: Row, spec: StudySpec) -> Outcome:
    """The outcome of a measured trial, in the same words as ``show``."""
    return measured_outcome(
        feasible=bool(row.feasible),
        rankable=row.rankable,
        cut=bool(row.cut),
        quality_fault=row.quality_fault,
        slos=bool(spec.slos),
    )


def phase_text(phase: str) -> str:
    """A phase as users read it."""
    return "checking quality" if phase == Phase.CHECKING.value else phase


def slos_left_open(row: Row) -> bool:
    """Whether an SLO without a value is neither met nor missed: one that must have a value makes a trial infeasible."""
    return bool(row.feasible) and not row.rankable
