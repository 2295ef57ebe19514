"""Titles and figures of objectives and SLOs."""

from autotuner.report.numbers import plain, with_unit
from autotuner.scoring.goals import Goal, goals
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


def goal_title(goal: Goal, spec: StudySpec) -> str:
    """Returns the figure and its load level in one line."""
    return f"{figure_title(goal)} {level_title(goal, spec.workload)}"


def target_text(goal: Goal, spec: StudySpec) -> str:
    """``max``, ``<= 400 ms``, or both."""
    target = ""
    if goal.objective is not None:
        target = spec.objectives[goal.objective].direction.value
    if goal.slo is not None:
        slo = spec.slos[goal.slo]
        bound = f"{slo.comparison.value} {with_unit(slo.metric, slo.threshold)}"
        target = f"{target}, {bound}" if target else bound
    return target


def figure_text(metric: str, value: float | None) -> str:
    """Formats a value; rates without their unit, which is part of the title."""
    if value is None:
        return "-"
    return plain(value) if METRICS[metric].unit in _UNIT_IN_TITLE else with_unit(metric, value)


def figure_title(goal: Goal) -> str:
    """``p99 TTFT``, ``tokens/s``."""
    name = _SHORT.get(goal.metric, goal.metric)
    return (f"{goal.statistic} {name}" if goal.statistic else name) + of_text(goal.of)


def level_title(goal: Goal, workload: Workload) -> str:
    """``@8`` for eight in flight, ``@4/s`` for a rate, ``@all`` if several levels count together."""
    levels = [level.text for level in workload.levels]
    text = goal.at or (levels[0] if len(levels) == 1 else "")
    short = (text.partition("=")[2] or text).split(" ")[0] if text else "all"
    where = f" {goal.scenario}" if goal.scenario and len(workload.scenarios) > 1 else ""
    return f"@{short}{where}"
