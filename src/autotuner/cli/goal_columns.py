"""Objectives and SLOs as columns: titles with their load level, cells with what was measured."""

from collections.abc import Sequence

from rich.text import Text

from autotuner.cli.columns import Column
from autotuner.report.numbers import plain, with_unit
from autotuner.scoring.goals import Goal, goals
from autotuner.scoring.slo import missed
from autotuner.study.metric import METRICS, Unit
from autotuner.study.objective import of_text
from autotuner.study.spec import StudySpec
from autotuner.study.workload import Workload

_SHORT = {
    "ttft": "TTFT",
    "tpot": "TPOT",
    "itl": "ITL",
    "itl_token": "ITL/token",
    "e2e_latency": "latency",
    "ttft_scheduled": "TTFT (sched.)",
    "ttft_first_turn": "TTFT (1st turn)",
    "ttft_later_turns": "TTFT (later)",
    "e2e_latency_scheduled": "latency (sched.)",
    "output_throughput": "tokens/s",
    "input_throughput": "input tokens/s",
    "total_throughput": "total tokens/s",
    "request_throughput": "requests/s",
    "document_throughput": "documents/s",
    "goodput": "goodput/s",
    "output_throughput_per_gpu": "tokens/s/GPU",
    "capacity": "requests/s",
    "capacity_in_flight": "in flight",
    "capacity_speed": "x speed",
    "capacity_tokens": "tokens/s",
    "capacity_per_gpu": "requests/s/GPU",
    "capacity_in_flight_per_gpu": "in flight/GPU",
    "capacity_speed_per_gpu": "x speed/GPU",
    "capacity_tokens_per_gpu": "tokens/s/GPU",
    "success_rate": "success",
    "energy_per_token": "J/token",
    "cost_per_million_output_tokens": "USD/1M tokens",
    "cost_per_request": "USD/request",
}
_UNIT_IN_TITLE = set(Unit) - {Unit.SECONDS, Unit.RATIO}


def study_goals(spec: StudySpec) -> tuple[Goal, ...]:
    """Returns the figures that decide this study."""
    return goals(spec.objectives, spec.slos)


def goal_columns(spec: StudySpec) -> list[Column]:
    """Returns one column per figure. The first is never dropped; the last ones are dropped first."""
    return [_column(goal, spec, drop=i + 1 if i else 0) for i, goal in enumerate(study_goals(spec))]


def _column(goal: Goal, spec: StudySpec, *, drop: int) -> Column:
    """Builds a title of three lines: the figure, its load level, and the target."""
    target = ""
    if goal.objective is not None:
        target = spec.objectives[goal.objective].direction.value
    if goal.slo is not None:
        slo = spec.slos[goal.slo]
        bound = f"{slo.comparison.value} {with_unit(slo.metric, slo.threshold)}"
        target = f"{target}, {bound}" if target else bound
    return Column(f"{_figure(goal)}\n{_level(goal, spec.workload)}\n{target}", align="right", drop=drop)


def goal_title(goal: Goal, spec: StudySpec) -> str:
    """Returns the figure and its load level in one line."""
    return f"{_figure(goal)} {_level(goal, spec.workload)}"


def goal_cell(goal: Goal, spec: StudySpec, objectives: Sequence[float | None], slos: Sequence[float | None]) -> Text:
    """Renders the measured value: red if it misses the bound, empty if there is none yet."""
    value = None
    if goal.objective is not None and goal.objective < len(objectives):
        value = objectives[goal.objective]
    violated = False
    if goal.slo is not None and goal.slo < len(slos):
        value = slos[goal.slo] if value is None else value
        violated = missed(spec.slos[goal.slo], slos[goal.slo])
    if value is None:
        return Text("-" if violated else "", style="red" if violated else "")
    return Text(figure_text(goal.metric, value), style="red" if violated else "")


def figure_text(metric: str, value: float | None) -> str:
    """Formats a value; rates without their unit, which is part of the title."""
    if value is None:
        return "-"
    return plain(value) if METRICS[metric].unit in _UNIT_IN_TITLE else with_unit(metric, value)


def _figure(goal: Goal) -> str:
    name = _SHORT.get(goal.metric, goal.metric)
    return (f"{goal.statistic} {name}" if goal.statistic else name) + of_text(goal.of)


def _level(goal: Goal, workload: Workload) -> str:
    """``@8`` for eight in flight, ``@4/s`` for a rate, ``@all`` if several levels count together."""
    levels = [level.text for level in workload.levels]
    text = goal.at or (levels[0] if len(levels) == 1 else "")
    short = (text.partition("=")[2] or text).split(" ")[0] if text else "all"
    where = f" {goal.scenario}" if goal.scenario and len(workload.scenarios) > 1 else ""
    return f"@{short}{where}"
