"""Output of ``autotuner capacity`` and ``autotuner verify``: levels, a plot of the curve, the certificate."""

from collections.abc import Sequence
from math import log
from pathlib import Path

from rich.text import Text

from autotuner import CapacityLevel, CapacityReport, CapacityResult, LoadUnit, Verification
from autotuner.cli.columns import Column, table_text
from autotuner.plain_text import marked_line
from autotuner.report.server_diagnosis import diagnosis, server_figures
from autotuner.report.views.capacity_texts import capacity_answer, level_notes
from autotuner.study.capacity.level_test import CapacityBound
from autotuner.study.capacity.units import load_text

_COLUMNS = (
    Column("load", align="right"),
    Column("requests", align="right", drop=1),
    Column("TTFT p50/p99 ms", align="right"),
    Column("TPOT p50/p99 ms", align="right", drop=2),
    Column("latency p50/p99 ms", align="right", drop=3),
    Column("tokens/s", align="right", drop=4),
    Column("verdict"),
)
_STYLES = {"certified": "green", "refuted": "red", "saturated": "red", "open": ""}
_WIDTH = 40
"""Characters of the longest bar."""
_BAR = "█"


def capacity_text(report: CapacityReport, folder: Path) -> str:
    """Renders everything that was found."""
    parts = []
    for result in report.results:
        parts += curve_lines(result)
    parts += ["", f"certificate: {folder}/capacity.json; check it with: autotuner verify {folder}"]
    return "\n".join(parts)


def curve_lines(result: CapacityResult, width: int | None = None) -> list[str]:
    """Renders the levels of one search, a plot of the curve, and the answer."""
    levels = sorted(result.levels, key=lambda level: level.load)
    rows = [_row(level, result.unit) for level in levels]
    shown = [i for i in range(len(_COLUMNS)) if any(row[i].plain != "-" for row in rows)]
    table = table_text([_COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows], width=width)
    plot = _plot(levels, result.unit, result.latency_bound)
    server = _server(levels, result.unit)
    notes = [f"! {marked_line(note)}" for note in level_notes(result)]
    return [
        result.scenario,
        *table.splitlines(),
        "",
        *([*plot, ""] if plot else []),
        *server,
        *([*notes, ""] if notes else []),
        *capacity_answer(result),
    ]


def verification_text(found: Verification) -> str:
    """Renders the check of a certificate."""
    lines = [f"{check.scenario} {check.level}: {check.state}: {check.problem or 'holds'}" for check in found.levels]
    problems = sum(check.problem is not None for check in found.levels)
    verdict = "the certificate holds" if found.holds else f"the certificate does not hold: {problems} of {len(lines)}"
    return "\n".join([*lines, verdict if found.holds else f"{verdict} checks failed"])


def _server(levels: Sequence[CapacityLevel], unit: LoadUnit) -> list[str]:
    """What the server's own metrics showed at each load, and what that explains."""
    lines = []
    for level in levels:
        server = level.measurement.server
        if server is not None:
            lines.append(f"{load_text(unit, level.load)}: {server_figures(server) or 'no metrics'}")
            lines += [f"  {sentence}" for sentence in diagnosis(level.measurement)]
            lines += [f"  ! server metrics: {marked_line(note)}" for note in server.notes]
    return ["server, by load", *lines, ""] if lines else []


def _row(level: CapacityLevel, unit: LoadUnit) -> list[Text]:
    measured = level.measurement
    verdict = level.verdict
    throughput = measured.value("output_throughput", None)
    cells = [Text(load_text(unit, level.load)), Text(str(measured.arrived))]
    cells += [Text(_pair(level, metric)) for metric in ("ttft", "tpot", "e2e_latency")]
    return [
        *cells,
        Text("-" if throughput is None else f"{throughput:,.0f}"),
        Text(verdict, style=_STYLES.get(verdict, "dim")),
    ]


def _pair(level: CapacityLevel, metric: str) -> str:
    measured = level.measurement
    if metric not in measured.distributions:
        return "-"
    values = [measured.value(metric, statistic) for statistic in ("p50", "p99")]
    return " / ".join("?" if value is None else f"{value * 1000:.1f}" for value in values)


def _plot(levels: Sequence[CapacityLevel], unit: LoadUnit, bound: CapacityBound | None) -> list[str]:
    """The observed value of a latency SLO by load, as bars on a logarithmic scale; ``|`` marks its limit."""
    if bound is None:
        return []
    found = [(level, level.measurement.value(bound.metric, bound.statistic)) for level in levels]
    known = [value for _, value in found if value]
    if not known:
        return []
    lowest = min([*known, bound.limit]) / 2
    scale = _WIDTH / log(max([*known, bound.limit]) / lowest)
    mark = round(log(bound.limit / lowest) * scale)
    width = max(len(load_text(unit, level.load)) for level in levels)
    lines = [f"{bound.slo}, by load (logarithmic)"]
    for level, value in found:
        length = _WIDTH if value is None else round(log(value / lowest) * scale) if value else 0
        bar = (_BAR * length).ljust(max(_WIDTH, mark + 1))
        bar = bar if length > mark else bar[:mark] + "|" + bar[mark + 1 :]
        shown = "?" if value is None else f"{value * 1000:.1f} ms"
        lines.append(f"{load_text(unit, level.load):>{width}} {bar} {shown}")
    return lines
