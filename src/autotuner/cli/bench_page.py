"""Output of ``autotuner bench``: a table of windows, a table of SLOs, and notes on both."""

from collections.abc import Iterator

from rich.text import Text

from autotuner.benchmarks.bench import BenchReport, SloResult
from autotuner.cli.columns import Column, table_text
from autotuner.net.remedies import BENCH
from autotuner.report.numbers import UNSURE, with_unit
from autotuner.study.measurement import Measurement
from autotuner.study.metric import fewest_samples
from autotuner.tuning.trials.unanswered import error_message, error_remedy, no_answer_text

_COLUMNS = (
    Column("scenario"),
    Column("level"),
    Column("requests", align="right", drop=1),
    Column("success", align="right"),
    Column("tokens/s", align="right"),
    Column("requests/s", align="right", drop=3),
    Column("TTFT p50/p99 ms", align="right"),
    Column("TPOT p50/p99 ms", align="right"),
    Column("latency p50/p99 ms", align="right", drop=2),
)
_SLO_COLUMNS = (Column("SLO"), Column("scenario", drop=1), Column("level"), Column("value", align="right"), Column(""))


def bench_text(report: BenchReport) -> str:
    """The whole output."""
    rows = [[Text(cell) for cell in _cells(m)] for m in report.measurements]
    parts = [table_text(_COLUMNS, rows)]
    if report.slos:
        parts += ["", table_text(_SLO_COLUMNS, [_slo_cells(found) for found in report.slos])]
    parts += [note for m in report.measurements for note in _notes(m)]
    if any(not d.carries("p99") for m in report.measurements for d in m.distributions.values()):
        parts.append(f"{UNSURE} based on fewer than the {fewest_samples('p99')} requests that a p99 needs")
    return "\n".join(parts)


def _cells(m: Measurement) -> tuple[str, ...]:
    return (
        m.scenario,
        m.level.text,
        str(m.requests),
        _percent(m.value("success_rate", None)),
        _rate(m.value("output_throughput", None)),
        _rate(m.value("request_throughput", None)),
        _pair(m, "ttft"),
        _pair(m, "tpot"),
        _pair(m, "e2e_latency"),
    )


def _slo_cells(found: SloResult) -> list[Text]:
    value = "unknown" if found.value is None else with_unit(found.metric, found.value)
    few = "" if found.too_few is None else f" ({found.too_few} requests)"
    outcome = Text(f"met{few}", style="green") if found.met else Text(f"missed{few}", style="red")
    return [Text(found.slo), Text(found.scenario), Text(found.level), Text(value), outcome]


def _notes(m: Measurement) -> Iterator[str]:
    """Notes on one window, one line each."""
    where = f"! {m.scenario} {m.level.text}:"
    if m.self_check.client_limited:
        yield f"{where} client-limited: {'; '.join(m.self_check.reasons)}"
    if not m.requests:
        yield f"{where} {no_answer_text(m)}; raise --duration"
    elif not m.steady and not m.overloaded:
        yield f"{where} not steady; try a longer window or warm-up"
    yield from (f"{where} insufficient data: {reason}" for reason in m.thin)
    yield from _errors(m, where)
    yield from (f"{where} {warning}" for warning in m.warnings)


def _errors(m: Measurement, where: str) -> Iterator[str]:
    for kind, count in m.errors.items():
        only = m.model_copy(update={"errors": {kind: count}})
        message = error_message(m, kind)
        yield f"{where} {count} x {kind}{f': {message}' if message else ''}; {error_remedy(only, BENCH)}"


def _pair(measurement: Measurement, metric: str) -> str:
    if metric not in measurement.distributions:
        return "-"
    cells = []
    for statistic in ("p50", "p99"):
        value = measurement.value(metric, statistic)
        mark = "" if measurement.carries(metric, statistic) else UNSURE
        cells.append("?" if value is None else f"{mark}{value * 1000:.1f}")
    return " / ".join(cells)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.4g}%"
