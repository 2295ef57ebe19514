"""Section of the report on the servers' own metrics."""

from collections.abc import Sequence

from autotuner.report.html.markup import Child, Html, element
from autotuner.report.html.tables import MOST_ROWS, cell, left_out_note, table
from autotuner.report.result import StudyResult, trial_label
from autotuner.report.server_diagnosis import diagnosis
from autotuner.study.measurement import Measurement
from autotuner.study.server_metrics import GaugeStats
from autotuner.study.simulated import MARK
from autotuner.study.trial import Trial

_HEADS = (
    "trial", "configuration", "load", "running", "waiting", "KV cache", "prefix cache hits", "preemptions",
    "draft tokens accepted", "what it explains",
)  # fmt: skip


def server_section(result: StudyResult) -> list[Child]:
    """One row per trial and window, without the columns that no server reports."""
    windows = [(t, m) for t in result.trials for m in t.measurements if m.server is not None and m.server.samples]
    if not windows:
        return []
    rows = [_cells(trial, measured) for trial, measured in windows[:MOST_ROWS]]
    shown = [i for i in range(len(_HEADS)) if any(row[i] != "-" for row in rows)]
    note = (
        "From the servers' own Prometheus metrics during each window: means, with maxima in parentheses; preemptions "
        "are counted over the window."
    )
    parts: list[Child] = [element("p", note)]
    body = [_row(row, shown) for row in rows]
    numbers = [index for index, i in enumerate(shown) if 3 <= i < len(_HEADS) - 1]
    parts.append(table("Server metrics of every window", [_HEADS[i] for i in shown], body, numbers=numbers))
    return [*parts, *left_out_note(len(windows), "windows")]


def _cells(trial: Trial, measured: Measurement) -> tuple[str, ...]:
    server = measured.server
    assert server is not None  # noqa: S101 - windows without are left out
    return (
        str(trial.number),
        trial_label(trial) + (f" ({MARK})" if trial.simulated else ""),
        f"{measured.scenario}, {measured.level.text}",
        _stats(server.running, "{:.3g}"),
        _stats(server.waiting, "{:.3g}"),
        _stats(server.kv_usage, "{:.0%}"),
        _share(server.prefix_hit_rate),
        "-" if server.preemptions is None else f"{server.preemptions:,}",
        _share(server.acceptance_rate),
        "; ".join(diagnosis(measured)) or "-",
    )


def _row(cells: Sequence[str], shown: Sequence[int]) -> Html:
    last = len(_HEADS) - 1
    return element(
        "tr",
        element("th", cells[0], scope="row"),
        [element("td", cells[1], class_="set"), element("td", cells[2])],
        [cell(cells[i], number=i < last) for i in shown if i > 2],
    )


def _stats(stats: GaugeStats | None, form: str) -> str:
    return "-" if stats is None else f"{form.format(stats.mean)} ({form.format(stats.max)})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
