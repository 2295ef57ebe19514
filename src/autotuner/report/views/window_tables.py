"""Tables with a row per window or trial: parts of the load, the servers' own metrics, GPUs."""

from collections.abc import Sequence

from autotuner.report.gpu_figures import TITLES, gpu_cells, have_gpus
from autotuner.report.numbers import UNSURE, plain, with_unit
from autotuner.report.result import StudyResult, trial_label
from autotuner.report.server_diagnosis import diagnosis
from autotuner.report.views.text_table import UNKNOWN, TextTable, text_table
from autotuner.study.measurement import Measurement, Slice
from autotuner.study.server_metrics import GaugeStats
from autotuner.study.simulated import MARK
from autotuner.study.trial import Trial

_PARTS = (
    "trial", "configuration", "load", "part", "requests", "failed", "tokens/s", "requests/s", "TTFT p50 / p99",
    "TPOT p50 / p99", "latency p50 / p99",
)  # fmt: skip
_RATES = ("output_throughput", "request_throughput")
_LATENCIES = ("ttft", "tpot", "e2e_latency")
_SERVER = (
    "trial", "configuration", "load", "running", "waiting", "KV cache", "prefix cache hits", "preemptions",
    "draft tokens accepted", "what it explains",
)  # fmt: skip


def parts_table(result: StudyResult) -> TextTable | None:
    """Kinds of requests and stages of a load: a row per trial, window and part; None if loads have no parts."""
    rows = [_part(t, m, part) for t in result.trials for m in t.measurements for part in m.slices]
    return text_table("Parts of the load", _PARTS, rows, numbers=range(4, len(_PARTS)))


def server_table(result: StudyResult) -> TextTable | None:
    """What the servers' own metrics say: a row per trial and window; None if no server has some."""
    windows = [(t, m) for t in result.trials for m in t.measurements if m.server is not None and m.server.samples]
    note = (
        "From the servers' own Prometheus metrics during each window: means, with maxima in parentheses; preemptions "
        "are counted over the window."
    )
    rows = [_server(trial, measured) for trial, measured in windows]
    return text_table("What the servers saw", _SERVER, rows, numbers=range(3, len(_SERVER) - 1), note=note)


def gpu_table(result: StudyResult) -> TextTable | None:
    """GPU figures of every measured trial; None without GPUs."""
    shown = [trial for trial in result.trials if trial.measurements]
    if not have_gpus(shown):
        return None
    note = (
        "Over all windows of a trial: throughput is a geometric mean, energy is total energy per token, memory and "
        "temperature are the maxima of the fullest and hottest GPU, and power is the sum over all GPUs."
    )
    heads = ("trial", "configuration", *TITLES)
    rows = [(str(trial.number), label_text(trial), *gpu_cells(trial)) for trial in shown]
    return text_table("GPUs and energy", heads, rows, numbers=range(2, len(heads)), note=note)


def label_text(trial: Trial) -> str:
    """The values of a trial, marked if its numbers are simulated."""
    return trial_label(trial) + (f" ({MARK})" if trial.simulated else "")


def _place(trial: Trial, measured: Measurement) -> tuple[str, str, str]:
    return (str(trial.number), label_text(trial), f"{measured.scenario}, {measured.level.text}")


def _part(trial: Trial, measured: Measurement, part: Slice) -> Sequence[str]:
    rates = (part.scalars.get(metric) for metric in _RATES)
    return (
        *_place(trial, measured),
        part.label,
        str(part.requests),
        str(part.failed),
        *(UNKNOWN if value is None else plain(value) for value in rates),
        *(_percentiles(part, metric) for metric in _LATENCIES),
    )


def _percentiles(part: Slice, metric: str) -> str:
    found = part.distributions.get(metric)
    if found is None:
        return UNKNOWN
    return " / ".join(
        f"{'' if found.carries(s) else UNSURE}{with_unit(metric, found.value(s))}" for s in ("p50", "p99")
    )


def _server(trial: Trial, measured: Measurement) -> Sequence[str]:
    server = measured.server
    assert server is not None  # noqa: S101 - windows without are left out
    return (
        *_place(trial, measured),
        _gauge(server.running, "{:.3g}"),
        _gauge(server.waiting, "{:.3g}"),
        _gauge(server.kv_usage, "{:.0%}"),
        _share(server.prefix_hit_rate),
        UNKNOWN if server.preemptions is None else f"{server.preemptions:,}",
        _share(server.acceptance_rate),
        "; ".join(diagnosis(measured)) or UNKNOWN,
    )


def _gauge(stats: GaugeStats | None, form: str) -> str:
    return UNKNOWN if stats is None else f"{form.format(stats.mean)} ({form.format(stats.max)})"


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1%}"
