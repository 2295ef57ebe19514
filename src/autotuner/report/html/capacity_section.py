"""The report's section on capacity searches: the curve of the default and of the best, and every level."""

from collections.abc import Iterator

from autotuner.report.analysis import compared
from autotuner.report.html.charts import Chart, Line, Mark, legend, points_chart
from autotuner.report.html.markup import Child, Html, element
from autotuner.report.html.tables import MOST_ROWS, cell, left_out_note, table
from autotuner.report.numbers import metric_name, plain
from autotuner.report.result import StudyResult, trial_label
from autotuner.study.capacity.result import CapacityLevel, CapacityResult
from autotuner.study.capacity.units import LOAD_KINDS, load_text
from autotuner.study.simulated import MARK
from autotuner.study.trial import Trial

_FAR_OVER = 4.0
"""Multiple of an SLO's limit above which a level is not drawn, because it would flatten the others."""
_KINDS = {"certified": "best", "open": "ok", "refuted": "bad", "saturated": "bad"}
_LEGEND = [("best", "certified"), ("ok", "open"), ("bad", "refuted or saturated")]
_HEADS = (
    "trial", "configuration", "scenario", "load", "verdict", "requests", "TTFT p50 / p99", "E2E latency p50 / p99",
    "tokens/s",
)  # fmt: skip


def capacity_section(result: StudyResult) -> list[Child]:
    """Curves and levels; empty if the study searched for no capacity."""
    levels = [(t, found, level) for t in result.trials for found in t.capacities for level in found.levels]
    if not levels:
        return []
    parts: list[Child] = [*_curves(result)]
    rows = [_row(*one) for one in levels[:MOST_ROWS]]
    unit = LOAD_KINDS[levels[0][1].unit].axis
    heads = [f"load ({unit})" if head == "load" else head for head in _HEADS]
    parts.append(table("Levels of every capacity search", heads, rows, numbers=[3, *range(5, len(heads))]))
    return [*parts, *left_out_note(len(levels), "levels")]


def _curves(result: StudyResult) -> Iterator[Html]:
    best = compared(result)
    shown = [(result.default, f"the {result.reference_word}"), (best, f"trial {best.number}" if best else "")]
    for trial, name in shown:
        for number, found in enumerate(trial.capacities if trial is not None else ()):
            if (drawn := _curve(found, name, f"chart-capacity-{trial.number if trial else 0}-{number}")) is not None:
                yield drawn


def _curve(found: CapacityResult, name: str, chart_id: str) -> Html | None:
    bound = found.latency_bound
    if bound is None:
        return None
    marks = []
    left_out = 0
    for level in found.levels:
        value = level.measurement.value(bound.metric, bound.statistic)
        if value is None or value > _FAR_OVER * bound.limit:
            left_out += 1
            continue
        label = f"{load_text(found.unit, level.load)}: {level.verdict}, {plain(value * 1000)} ms"
        marks.append(Mark(level.load, value * 1000, _KINDS.get(level.verdict, "ok"), label))
    if not marks:
        return None
    title = f"Capacity of {name}, {found.scenario}"
    figure = metric_name(bound.metric, bound.statistic)
    ends = f"certified {_load(found, found.certified)}, refuted {_load(found, found.refuted)}"
    far = f"; {left_out} levels far over the SLO are not drawn" if left_out else ""
    chart = Chart(
        id=chart_id,
        title=title,
        description=f"{figure} by load; {ends}{far}.",
        x_title=LOAD_KINDS[found.unit].axis,
        y_title=f"{figure} (ms)",
    )
    drawn = points_chart(chart, marks, lines=[Line(bound.limit * 1000, bound.slo, "slo")])
    kinds = {mark.kind for mark in marks}
    box = element("div", drawn, class_="plot", role="group", aria_label=title, tabindex="0")
    key = legend([(kind, text) for kind, text in _LEGEND if kind in kinds])
    return element("figure", element("h3", title), box, key, element("figcaption", chart.description))


def _load(found: CapacityResult, load: float | None) -> str:
    return "none" if load is None else load_text(found.unit, load)


def _row(trial: Trial, found: CapacityResult, level: CapacityLevel) -> Html:
    measured = level.measurement
    throughput = measured.value("output_throughput", None)
    return element(
        "tr",
        element("th", str(trial.number), scope="row"),
        element("td", trial_label(trial) + (f" ({MARK})" if trial.simulated else ""), class_="set"),
        element("td", found.scenario),
        cell(plain(level.load), number=True),
        element("td", level.verdict),
        cell(str(measured.arrived), number=True),
        cell(_pair(level, "ttft"), number=True),
        cell(_pair(level, "e2e_latency"), number=True),
        cell("-" if throughput is None else plain(throughput), number=True),
    )


def _pair(level: CapacityLevel, metric: str) -> str:
    values = [level.measurement.value(metric, statistic) for statistic in ("p50", "p99")]
    if not any(values):
        return "-"
    return f"{' / '.join('?' if v is None else plain(v * 1000) for v in values)} ms"
