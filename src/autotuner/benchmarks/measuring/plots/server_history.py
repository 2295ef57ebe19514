"""What a server's own metrics showed over the time of a window, sample by sample."""

from collections.abc import Mapping, Sequence

from autotuner.benchmarks.measuring.server_figures import Values, figure_values, kv_usage, metrics_source
from autotuner.benchmarks.measuring.server_samples import ServerSamples
from autotuner.plugins.server_metrics import COUNTERS, Figure, MetricsSource

_NS = 1e-9
_GAUGES = (Figure.RUNNING, Figure.WAITING)
_RATES = {
    "generated_rate": Figure.GENERATED_TOKENS,
    "prompt_rate": Figure.PROMPT_TOKENS,
    "preemption_rate": Figure.PREEMPTIONS,
}


def figures_over_time(
    samples: ServerSamples, sources: Sequence[MetricsSource]
) -> tuple[tuple[float, ...], Mapping[str, Values]]:
    """The figures of each sample.

    Args:
        samples: Those of one window.
        sources: The engines that the server may be.

    Returns:
        Seconds from the window's start, and by figure one value per sample: ``running`` and ``waiting`` requests,
        ``kv_usage`` (0 to 1), and the rates ``generated_rate``, ``prompt_rate`` and ``preemption_rate`` per second
        since the sample before. Figures that the server does not report are missing.
    """
    times = tuple(at * _NS for at in samples.at_ns)
    source = metrics_source(samples, sources)
    if source is None:
        return times, {}
    known = {figure: values for figure in source.names if (values := figure_values(samples, source, figure, []))}
    found: dict[str, Values] = {figure.value: known[figure] for figure in _GAUGES if figure in known}
    usage = kv_usage({figure: values for figure, values in known.items() if figure not in COUNTERS})
    if usage is not None:
        found[Figure.KV_USAGE.value] = usage
    if Figure.PROMPT_TOKENS not in known and {Figure.COMPUTED_TOKENS, Figure.CACHED_TOKENS} <= known.keys():
        parts = zip(known[Figure.COMPUTED_TOKENS], known[Figure.CACHED_TOKENS], strict=True)
        known[Figure.PROMPT_TOKENS] = [None if a is None or b is None else a + b for a, b in parts]
    for name, figure in _RATES.items():
        if figure in known:
            found[name] = _rates(times, known[figure])
    return times, found


def _rates(times: Sequence[float], values: Values) -> Values:
    """Increase per second since the sample before; None where that is unknown, or the counter was reset."""
    rates: Values = []
    before: tuple[float, float] | None = None
    for at, value in zip(times, values, strict=True):
        if before is None or value is None or at <= before[0] or value < before[1]:
            rates.append(None)
        else:
            rates.append((value - before[1]) / (at - before[0]))
        before = before if value is None else (at, value)
    return rates
