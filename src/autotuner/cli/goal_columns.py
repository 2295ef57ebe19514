"""Objectives and SLOs as columns: titles with their load level, cells with what was measured."""

from collections.abc import Sequence

from rich.text import Text

from autotuner.cli.columns import Column
from autotuner.report.views.goal_texts import figure_text, figure_title, level_title, study_goals, target_text
from autotuner.scoring.goals import Goal
from autotuner.scoring.slo import missed
from autotuner.study.spec import StudySpec


def goal_columns(spec: StudySpec) -> list[Column]:
    """Returns one column per figure. The first is never dropped; the last ones are dropped first."""
    return [_column(goal, spec, drop=i + 1 if i else 0) for i, goal in enumerate(study_goals(spec))]


def _column(goal: Goal, spec: StudySpec, *, drop: int) -> Column:
    """Builds a title of three lines: the figure, its load level, and the target."""
    title = f"{figure_title(goal)}\n{level_title(goal, spec.workload)}\n{target_text(goal, spec)}"
    return Column(title, align="right", drop=drop)


def goal_cell(
    goal: Goal,
    spec: StudySpec,
    objectives: Sequence[float | None],
    slos: Sequence[float | None],
    *,
    left_open: bool,
) -> Text:
    """Renders the measured value: red if it misses the bound, empty if there is none yet.

    Args:
        goal: What the column shows.
        spec: The study.
        objectives: Value of each objective of the study, in order.
        slos: Worst value for each SLO of the study, in order.
        left_open: Whether an SLO without a value is neither met nor missed.
    """
    value = None
    if goal.objective is not None and goal.objective < len(objectives):
        value = objectives[goal.objective]
    violated = False
    if goal.slo is not None and goal.slo < len(slos):
        value = slos[goal.slo] if value is None else value
        violated = missed(spec.slos[goal.slo], slos[goal.slo]) and not (left_open and slos[goal.slo] is None)
        if value is None:
            return Text("-", style="red" if violated else "")
    if value is None:
        return Text("")
    return Text(figure_text(goal.metric, value), style="red" if violated else "")
