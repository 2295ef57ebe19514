"""Output of ``autotuner bench``: a table of windows, a table of SLOs, and notes on both."""

from collections.abc import Iterator

from rich.text import Text

from autotuner import BenchReport, SloResult
from autotuner.cli.columns import Column, table_text
from autotuner.report.numbers import UNSURE, with_unit
from autotuner.report.window_notes import bench_notes
from autotuner.study.measurement import Measurement, Slice
from autotuner.study.metric import fewest_samples

_COLUMNS = (
    Column("scenario"),
    Column("level"),
    Column("requests", align="right", drop=1),
    Column("success", align="right"),
    Column("tokens/s", align="right"),
    Column("input tokens/s", align="right"),
    Column("documents/s", align="right"),
    Column("requests/s", align="right", drop=3),
    Column("TTFT p50/p99 ms", align="right"),
    Column("TPOT p50/p99 ms", align="right"),
    Column("latency p50/p99 ms", align="right", drop=2),
)
_SLO_COLUMNS = (Column("SLO"), Column("scenario", drop=1), Column("level"), Column("value", align="right"), Column(""))


def bench_text(report: BenchReport) -> str:
    """Renders the whole output."""
    rows = [[Text(cell) for cell in cells] for m in report.measurements for cells in (_cells(m), *_slice_cells(m))]
    # What no window of this kind can have, such as TTFT without a stream, gets no column.
    shown = [i for i, column in enumerate(_COLUMNS) if not rows or any(_known(row[i]) for row in rows)]
    parts = [table_text([_COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows])]
    if report.slos:
        parts += ["", table_text(_SLO_COLUMNS, [_slo_cells(found) for found in report.slos])]
    parts += [note for m in report.measurements for note in bench_notes(m)]
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
        _rate(m.value("input_throughput", None)) if m.value("output_throughput", None) is None else "-",
        _rate(m.value("document_throughput", None)),
        _rate(m.value("request_throughput", None)),
        _pair(m, "ttft"),
        _pair(m, "tpot"),
        _pair(m, "e2e_latency"),
    )


def _slice_cells(m: Measurement) -> Iterator[tuple[str, ...]]:
    """A row for each kind of request in a mix."""
    for part in m.slices:
        share = (part.requests - part.failed) / part.requests if part.requests else None
        tokens, requests = (_rate(part.scalars.get(name)) for name in ("output_throughput", "request_throughput"))
        latencies = (_pair(part, metric) for metric in ("ttft", "tpot", "e2e_latency"))
        yield (f"  {part.label}", "", str(part.requests), _percent(share), tokens, "", "", requests, *latencies)


def _known(cell: Text) -> bool:
    return cell.plain not in {"", "-"}


def _slo_cells(found: SloResult) -> list[Text]:
    value = "unknown" if found.value is None else with_unit(found.metric, found.value)
    few = "" if found.too_few is None else f" ({found.too_few} requests)"
    outcome = Text(f"met{few}", style="green") if found.met else Text(f"missed{few}", style="red")
    return [Text(found.slo), Text(found.scenario), Text(found.level), Text(value), outcome]


def _pair(measured: Measurement | Slice, metric: str) -> str:
    found = measured.distributions.get(metric)
    if found is None:
        return "-"
    cells = []
    for statistic in ("p50", "p99"):
        value = found.value(statistic)
        mark = "" if found.carries(statistic) else UNSURE
        cells.append("?" if value is None else f"{mark}{value * 1000:.1f}")
    return " / ".join(cells)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.4g} %"
