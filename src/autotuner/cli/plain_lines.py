"""The progress of a study where there is no terminal: one line per change, for logs and pipes."""

from collections.abc import Callable

from autotuner.cli.goal_columns import goal_cell, goal_title, study_goals
from autotuner.cli.live_table import cause_text, change_text, configuration_text
from autotuner.events.view import Row, StudyView
from autotuner.plain_text import marked_line
from autotuner.study.spec import StudySpec

_SAID = {"launching", "measuring", "done", "failed", "void"}


class PlainLines:
    """Says each change once."""

    def __init__(self, say: Callable[[str], None], spec: StudySpec) -> None:
        self._say = say
        self._spec = spec
        self._said: dict[int, str] = {}
        self._notices = 0
        self._warned = ""

    def update(self, view: StudyView) -> None:
        """Says what is new."""
        for notice in view.notices[self._notices :]:
            self._say(f"! {marked_line(notice)}")
        self._notices = len(view.notices)
        warning = view.simulated()
        if warning.partition(":")[0] != self._warned:
            self._warned = warning.partition(":")[0]
            self._say(f"! {warning}")
        for row in view.rows.values():
            now = row.state if row.phase == "done" else row.phase
            if self._said.get(row.number) != now and now in _SAID:
                self._said[row.number] = now
                self._say(self._line(view, row, now))

    def _line(self, view: StudyView, row: Row, now: str) -> str:
        start = f"trial {row.number}  {now:9}  {configuration_text(row)}"
        if now in {"launching", "measuring"}:
            return start
        message = marked_line(row.note.partition(": ")[2])
        if now in {"failed", "void"}:
            return "  ".join(part for part in (start, message) if part)
        change = change_text(view, row, self._spec)
        return "  ".join(
            part
            for part in (start, *self._figures(row), f"{change} vs default" if change else "", _slos(row), message)
            if part
        )

    def _figures(self, row: Row) -> list[str]:
        """``tokens/s @8 1,234``; one per objective and SLO."""
        found = []
        for goal in study_goals(self._spec):
            value = goal_cell(goal, self._spec, row.objectives, row.slos).plain
            if value:
                found.append(f"{goal_title(goal, self._spec)} {value}")
        return found


def _slos(row: Row) -> str:
    if cause_text(row) or row.feasible is None:
        return ""
    met = "SLOs met" if row.feasible else "SLOs missed"
    return f"{met} (too few: {', '.join(row.unsure)})" if row.unsure else met
