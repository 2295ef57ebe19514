"""The charts of a result and their data; :mod:`autotuner.report.html.charts` draws them."""

import math
from collections.abc import Sequence

from autotuner.report.analysis import compared, importance, value_groups
from autotuner.report.headline import objective_text
from autotuner.report.html.charts import Chart, Line, Mark, legend, points_chart, rows_chart
from autotuner.report.html.markup import Html, element
from autotuner.report.numbers import metric_name, with_unit
from autotuner.report.result import StudyResult, objective_value, trial_label
from autotuner.study.base import Value, value_text
from autotuner.study.metric import METRICS, Direction, Unit
from autotuner.study.objective import Comparison, Objective
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.proof import records

LEGEND = {
    "default": "the {word}",
    "default-bad": "the {word}, SLO missed",
    "best": "the best",
    "ok": "SLO met",
    "bad": "SLO missed, or not ranked",
    "failed": "failed (at the bottom)",
}
"""By kind of mark; ``{word}`` is ``default`` or ``baseline``."""
SHOWN_PARAMETERS = 8
"""Number of strip plots; further parameters are in the table only."""


def progress_figure(result: StudyResult) -> Html | None:
    """The first objective by trial, with lines for the best so far and the default; None before the first result."""
    objective = result.spec.objectives[0]
    trials = _shown(result)
    marks = [_mark(result, t, float(t.number), _value(objective, t)) for t in trials]
    if not any(math.isfinite(m.y) for m in marks):
        return None
    lines = []
    default = _value(objective, result.default) if result.default else math.nan
    if math.isfinite(default):
        lines.append(Line(default, f"the {result.reference_word}", "default"))
    chart = Chart(
        id="chart-progress",
        title=f"{_title(objective)} by trial",
        description=f"{len(trials)} trials; {_goal(objective)}. The line follows the best feasible trial so far.",
        x_title="trial",
        y_title=_axis(objective.metric, objective.statistic),
    )
    drawn = points_chart(chart, marks, lines=lines, path=_best_so_far(objective, trials))
    return _figure(result, chart.title, chart.description, drawn, marks)


def tradeoff_figure(result: StudyResult) -> Html | None:
    """Output throughput against p99 TTFT at the last level of the first scenario; None with fewer than two points."""
    place = (result.spec.workload.scenarios[0].text, result.spec.workload.levels[-1].text)
    marks = []
    for trial in _shown(result):
        for m in trial.measurements:
            x = m.value("ttft", "p99")
            y = m.value("output_throughput", None)
            if (m.scenario, m.level.text) == place and x is not None and y is not None and math.isfinite(x + y):
                marks.append(_mark(result, trial, x * 1000, y))
    if len(marks) < 2:
        return None
    bounds = [s for s in result.spec.slos if s.hard and s.of is None and (s.metric, s.statistic) == ("ttft", "p99")]
    bounds = [s for s in bounds if s.comparison is Comparison.LE and s.at in (None, place[1])]
    lines = [Line(s.threshold * 1000, s.text, "slo", vertical=True) for s in bounds if s.scenario in (None, place[0])]
    chart = Chart(
        id="chart-tradeoff",
        title="Output throughput against p99 TTFT",
        description=f"Every measured trial at {place[0]}, {place[1]}. Up and to the left is better.",
        x_title="p99 TTFT (ms)",
        y_title="output throughput (tokens/s)",
    )
    return _figure(result, chart.title, chart.description, points_chart(chart, marks, lines=lines), marks)


def repeats_figure(result: StudyResult) -> Html | None:
    """The interleaved repeats of the default and the best, by objective; None without repeats."""
    best = compared(result)
    default = result.default
    word = result.reference_word
    if best is None or default is None:
        return None
    drawn = []
    for i, objective in enumerate(result.spec.objectives):
        rows = []
        for trial, name, kind in ((default, word, "default"), (best, f"trial {best.number}", "best")):
            marks = [
                Mark(_scaled(objective.metric, v), 0.0, kind, f"{name}: {with_unit(objective.metric, v)}")
                for v in result.repeat_values(trial, i)
            ]
            rows.append((f"{name} ({len(marks)})", marks))
        if not all(marks for _, marks in rows):
            return None
        chart = Chart(
            id=f"chart-repeats-{i + 1}",
            title=f"Repeats: {objective_text(objective)}",
            description="Each point is a separate launch of the server; the vertical line is the mean.",
            x_title=_axis(objective.metric, objective.statistic),
        )
        drawn.append(_figure(result, chart.title, chart.description, rows_chart(chart, rows, means=True), ()))
    return element("div", drawn)


def parameter_figures(result: StudyResult) -> list[Html]:
    """The first objective by value, in a strip plot for each parameter with more than one value."""
    objective = result.spec.objectives[0]
    trials = [t for t in _shown(result) if t.role is TrialRole.SEARCH and math.isfinite(_value(objective, t))]
    found = []
    for i, facts in enumerate(importance(result)[:SHOWN_PARAMETERS]):
        rows = _rows(result, facts.parameter, trials)
        if len(rows) > 1:
            chart = Chart(
                id=f"chart-parameter-{i + 1}",
                title=f"{_title(objective)} by {facts.parameter}",
                description=f"Every measured trial of the search; {_goal(objective)}.",
                x_title=_axis(objective.metric, objective.statistic),
            )
            marks = [m for _, row in rows for m in row]
            found.append(_figure(result, chart.title, chart.description, rows_chart(chart, rows), marks))
    return found


def _rows(result: StudyResult, name: str, trials: Sequence[Trial]) -> list[tuple[str, list[Mark]]]:
    conditional = {p.name for p in result.spec.parameters if p.when}
    inactive = [t for t in trials if name in conditional and name not in t.configuration.values]
    trials = [t for t in trials if t not in inactive]
    values = [t.configuration.values.get(name) for t in trials]
    groups = value_groups(values)
    members: dict[object, list[int]] = {}
    for i in sorted(range(len(values)), key=lambda i: _order(values[i])):
        members.setdefault(groups[i], []).append(i)
    objective = result.spec.objectives[0]
    rows = []
    for indexes in members.values():
        first = value_text(values[indexes[0]])
        last = value_text(values[indexes[-1]])
        marks = [_mark(result, trials[i], _value(objective, trials[i]), 0.0) for i in indexes]
        rows.append((first if first == last else f"{first} to {last}", marks))
    if inactive:
        rows.append(("inactive", [_mark(result, t, _value(objective, t), 0.0) for t in inactive]))
    return rows


def _order(value: Value) -> tuple[int, float, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (0, float(value), "")
    return (1, 0.0, value_text(value))


def _shown(result: StudyResult) -> list[Trial]:
    return [t for t in result.trials if t.role is not TrialRole.CONFIRM and t.state.finished]


def _mark(result: StudyResult, trial: Trial, x: float, y: float) -> Mark:
    usable = records.usable(trial)
    kind = "ok" if usable else "bad"
    if trial.state is TrialState.FAILED or not math.isfinite(y):
        kind = "failed"
    elif trial.role is TrialRole.DEFAULT:
        kind = "default" if usable else "default-bad"
    elif result.best is not None and trial.number == result.best.number:
        kind = "best"
    objective = result.spec.objectives[0]
    value = trial.failure.cause.value if trial.failure else with_unit(objective.metric, objective_value(trial))
    text = trial_label(trial)
    return Mark(x, y, kind, f"trial {trial.number}: {value}, {text if len(text) <= 200 else text[:199] + '…'}")


def _best_so_far(objective: Objective, trials: Sequence[Trial]) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for trial in trials:
        value = _value(objective, trial)
        if records.usable(trial) and math.isfinite(value):
            better = max if objective.direction is Direction.MAX else min
            points.append((float(trial.number), better(value, points[-1][1]) if points else value))
    return [*points, (float(trials[-1].number), points[-1][1])] if points else []


def _value(objective: Objective, trial: Trial) -> float:
    value = objective_value(trial)
    return math.nan if value is None else _scaled(objective.metric, value)


def _scaled(metric: str, value: float) -> float:
    unit = METRICS[metric].unit
    return value * 1000 if unit is Unit.SECONDS else value * 100 if unit is Unit.RATIO else value


def _title(objective: Objective) -> str:
    text = metric_name(objective.metric, objective.statistic)
    return text if objective.statistic else text[0].upper() + text[1:]


def _axis(metric: str, statistic: str | None) -> str:
    unit = METRICS[metric].unit
    shown = {Unit.SECONDS: "ms", Unit.RATIO: "%"}.get(unit, unit.value)
    return f"{metric_name(metric, statistic)} ({shown})"


def _goal(objective: Objective) -> str:
    return "higher is better" if objective.direction is Direction.MAX else "lower is better"


def _figure(result: StudyResult, title: str, note: str, drawn: Html, marks: Sequence[Mark]) -> Html:
    kinds = {m.kind for m in marks}
    texts = [(kind, text.format(word=result.reference_word)) for kind, text in LEGEND.items() if kind in kinds]
    key = legend(texts) if len(kinds) > 1 else None
    box = element("div", drawn, class_="plot", role="group", aria_label=title, tabindex="0")
    return element("figure", element("h3", title), box, key, element("figcaption", note))
