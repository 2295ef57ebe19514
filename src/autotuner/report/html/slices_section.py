"""The report's section on the parts of each window: kinds of requests, stages of a load."""

from autotuner.report.html.markup import Child, Html, element
from autotuner.report.html.tables import MOST_ROWS, cell, left_out_note, table
from autotuner.report.numbers import UNSURE, plain, with_unit
from autotuner.report.result import StudyResult, trial_label
from autotuner.study.measurement import Measurement, Slice
from autotuner.study.simulated import MARK
from autotuner.study.trial import Trial

_RATES = ("output_throughput", "request_throughput")
_METRICS = ("ttft", "tpot", "e2e_latency")
_HEADS = (
    "trial", "configuration", "load", "part", "requests", "failed", "tokens/s", "requests/s", "TTFT p50 / p99",
    "TPOT p50 / p99", "latency p50 / p99",
)  # fmt: skip


def slices_section(result: StudyResult) -> list[Child]:
    """A row per trial, window and part of it."""
    found = [(t, m, part) for t in result.trials for m in t.measurements for part in m.slices]
    if not found:
        return []
    rows = [_row(*row) for row in found[:MOST_ROWS]]
    parts = table("Parts of every window", _HEADS, rows, numbers=range(4, len(_HEADS)))
    return [parts, *left_out_note(len(found))]


def _row(trial: Trial, measured: Measurement, part: Slice) -> Html:
    return element(
        "tr",
        element("th", trial.number, scope="row"),
        element("td", trial_label(trial) + (f" ({MARK})" if trial.simulated else ""), class_="set"),
        element("td", f"{measured.scenario}, {measured.level.text}"),
        element("td", part.label),
        [
            cell(text, number=True)
            for text in (
                str(part.requests),
                str(part.failed),
                *(_rate(part, metric) for metric in _RATES),
                *(_pair(part, metric) for metric in _METRICS),
            )
        ],
    )


def _rate(part: Slice, metric: str) -> str:
    value = part.scalars.get(metric)
    return "-" if value is None else plain(value)


def _pair(part: Slice, metric: str) -> str:
    found = part.distributions.get(metric)
    if found is None:
        return "-"
    return " / ".join(
        f"{'' if found.carries(s) else UNSURE}{with_unit(metric, found.value(s))}" for s in ("p50", "p99")
    )
