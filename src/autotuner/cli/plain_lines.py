"""The progress of a study without a terminal: one line per change, for logs and pipes."""

from collections.abc import Callable

from autotuner.cli.goal_columns import goal_cell
from autotuner.cli.live_table import (
    cause_text,
    change_text,
    configuration_text,
    phase_text,
    row_outcome,
    slos_left_open,
)
from autotuner.events.view import Row, StudyView
from autotuner.plain_text import marked_line
from autotuner.report.views.goal_texts import goal_title, study_goals
from autotuner.study.spec import StudySpec

_SHORT_WINDOW = "measuring a short window"
_BEFORE_ITS_END = {"launching", _SHORT_WINDOW, "measuring", "checking"}
_REPORTED_STATES = {*_BEFORE_ITS_END, "done", "failed", "void"}


class PlainLines:
    """Prints each change once."""

    def __init__(self, print_line: Callable[[str], None], spec: StudySpec) -> None:
        self._print = print_line
        self._spec = spec
        self._printed: dict[int, str] = {}
        self._notices = 0
        self._warned = ""

    def update(self, view: StudyView) -> None:
        """Prints what changed since the last call."""
        for notice in view.notices[self._notices :]:
            self._print(f"! {marked_line(notice)}")
        self._notices = len(view.notices)
        warning = view.simulated()
        if warning and warning.partition(":")[0] != self._warned:
            self._warned = warning.partition(":")[0]
            self._print(f"! {warning}")
        for row in view.rows.values():
            now = row.state if row.phase == "done" else row.phase
            if now == "measuring" and row.short_window:
                now = _SHORT_WINDOW
            if self._printed.get(row.number) != now and now in _REPORTED_STATES:
                self._printed[row.number] = now
                self._print(self._line(view, row, now))

    def _line(self, view: StudyView, row: Row, now: str) -> str:
        start = f"trial {row.number}  {phase_text(now):9}  {configuration_text(row)}"
        if now in _BEFORE_ITS_END:
            return start
        message = marked_line(row.note.partition(": ")[2])
        if now in {"failed", "void"}:
            return "  ".join(part for part in (start, message) if part)
        change = change_text(view, row, self._spec)
        return "  ".join(
            part
            for part in (
                start,
                *self._figures(row),
                f"{change} vs {self._spec.reference_word}" if change else "",
                _slos(row, self._spec),
                message,
            )
            if part
        )

    def _figures(self, row: Row) -> list[str]:
        """Returns one text per objective and SLO, such as ``tokens/s @8 1,234``."""
        found = []
        for goal in study_goals(self._spec):
            value = goal_cell(goal, self._spec, row.objectives, row.slos, left_open=slos_left_open(row)).plain
            if value:
                found.append(f"{goal_title(goal, self._spec)} {value}")
        return found


def _slos(row: Row, spec: StudySpec) -> str:
    if cause_text(row) or row.feasible is None:
        return ""
    if row.by_short_window:
        return "cut early"
    text = row_outcome(row, spec).text
    return f"{text} (too few: {', '.join(row.unsure)})" if row.unsure else text
