"""Evaluation of the samples of a server's metrics in one window. Pure.

Gauges are step functions: a sample holds until the next one, at most :data:`_HOLDS_S`. Counters are differences
between the window's ends, interpolated between the samples around each end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from autotuner.benchmarks.loadgen.metrics.prometheus_text import split_series
from autotuner.benchmarks.measuring.server_samples import ServerSamples, values_of
from autotuner.plugins.server_metrics import COUNTERS, TOTALS, Figure, MetricsSource
from autotuner.study.server_metrics import FULL, GaugeStats, ServerMetrics

Values = list[float | None]

_HOLDS_S = 6.0
"""Longest time that a gauge is taken to have kept its value without being seen again: more than the longest pause
between two samples of a slow server."""
_QUEUED = 0.5
"""Waiting requests above which there is a queue."""
_SHARES = frozenset({Figure.KV_USAGE, Figure.HIT_RATE, Figure.ACCEPTANCE_RATE})
_SLACK = 0.01
"""What a share may exceed 1 by: rounding, and a page that is counted twice."""
_NS = 1e-9


@dataclass(frozen=True)
class _Step:
    """One sample inside the window, and the seconds that it represents."""

    index: int
    begin: float
    seconds: float


def server_metrics(samples: ServerSamples, sources: Sequence[MetricsSource], window_s: float) -> ServerMetrics:
    """Evaluates the samples of the window, which starts at 0."""
    notes = list(samples.notes)
    source = metrics_source(samples, sources)
    if source is None or not samples.at_ns:
        return ServerMetrics(notes=tuple(notes) or ("no metrics of a known engine",))
    times = [at * _NS for at in samples.at_ns]
    steps = _steps(times, window_s)
    found = {figure: figure_values(samples, source, figure, notes) for figure in source.names}
    gauges = {figure: values for figure, values in found.items() if values is not None and figure not in COUNTERS}
    counted = _counted(found, source, times, window_s, notes)
    if not steps:
        notes.append("no sample was taken inside the window")
    if samples.failed:
        notes.append(f"{samples.failed} of {samples.failed + len(times)} samples failed")
    covered = sum(step.seconds for step in steps)
    usage = kv_usage(gauges)
    full = [s for s in steps if (usage[s.index] or 0.0) >= FULL] if usage else []
    cached, prompts = _prefixes(counted)
    drafted = counted.get(Figure.DRAFT_TOKENS)
    accepted = counted.get(Figure.ACCEPTED_TOKENS)
    return ServerMetrics(
        engine=source.engine,
        samples=len(steps),
        coverage=min(1.0, covered / window_s) if window_s > 0 else 0.0,
        running=_stats(gauges.get(Figure.RUNNING), steps),
        waiting=_stats(gauges.get(Figure.WAITING), steps),
        kv_usage=_stats(usage, steps),
        kv_full_share=_share(usage, steps, full),
        kv_full_running=_fewest(gauges.get(Figure.RUNNING), full),
        saturated_share=_saturated(gauges, steps),
        queue_growth=_growth(gauges.get(Figure.WAITING), steps, window_s),
        replicas=_replicas(samples, source),
        running_limit_flag=source.running_limit_flag,
        reserves_kv_cache=source.reserves_kv_cache,
        preemptions=_whole(counted.get(Figure.PREEMPTIONS)),
        prompt_tokens=_whole(prompts),
        cached_tokens=_whole(cached),
        generated_tokens=_whole(counted.get(Figure.GENERATED_TOKENS)),
        prefix_hit_rate=_ratio(cached, prompts, gauges.get(Figure.HIT_RATE), steps),
        draft_tokens=_whole(drafted),
        accepted_tokens=_whole(accepted),
        acceptance_rate=_ratio(accepted, drafted, gauges.get(Figure.ACCEPTANCE_RATE), steps),
        notes=tuple(dict.fromkeys(notes)),
    )


def metrics_source(samples: ServerSamples, sources: Sequence[MetricsSource]) -> MetricsSource | None:
    """The engine whose metric names the server uses."""
    seen = {series.partition("{")[0] for series in samples.series or {}}
    return max(
        (source for source in sources if seen & set(source.all_names)),
        key=lambda source: len(seen & set(source.all_names)),
        default=None,
    )


def figure_values(samples: ServerSamples, source: MetricsSource, figure: Figure, notes: list[str]) -> Values | None:
    """One value per sample: over all replicas; None for a sample without the figure."""
    groups = _groups(samples, source, figure)
    if not groups:
        return None
    combine = sum if figure in TOTALS else max if figure is Figure.KV_USAGE else _mean
    found: Values = []
    for index in range(len(samples.at_ns)):
        seen = [max(known) for group in groups if (known := _known(group, index))]
        value = combine(seen) if seen else None
        if value is not None and _impossible(figure, value):
            notes.append(f"{figure.value} of {value:g} is not possible and is left out")
            value = None
        found.append(value)
    return found


def _groups(samples: ServerSamples, source: MetricsSource, figure: Figure) -> list[list[tuple[float | None, ...]]]:
    """The series of a figure, grouped if they report the same requests."""
    groups: dict[tuple[tuple[str, str], ...], list[tuple[float | None, ...]]] = {}
    for labels, values in values_of(samples, source.names.get(figure, ())).items():
        told = split_series(labels)[1]
        key = tuple(sorted((k, v) for k, v in told.items() if k not in source.duplicates))
        groups.setdefault(key, []).append(values)
    return list(groups.values())


def _replicas(samples: ServerSamples, source: MetricsSource) -> int:
    return max(1, len(_groups(samples, source, Figure.RUNNING)))


def _known(group: Sequence[Sequence[float | None]], index: int) -> list[float]:
    return [value for values in group if (value := values[index]) is not None]


def _impossible(figure: Figure, value: float) -> bool:
    return value < 0 or (figure in _SHARES and value > 1 + _SLACK)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _steps(times: Sequence[float], window_s: float) -> list[_Step]:
    """The samples that represent a part of the window; the last one before it represents its start."""
    steps = []
    for index, at in enumerate(times):
        until = times[index + 1] if index + 1 < len(times) else window_s
        begin = max(0.0, at)
        end = min(window_s, until, at + _HOLDS_S)
        if end > begin:
            steps.append(_Step(index, begin, end - begin))
    return steps


def _stats(values: Values | None, steps: Sequence[_Step]) -> GaugeStats | None:
    seen = [(value, step.seconds) for step in steps if values and (value := values[step.index]) is not None]
    if not seen:
        return None
    total = sum(seconds for _, seconds in seen)
    mean = sum(value * seconds for value, seconds in seen) / total
    least = min(value for value, _ in seen)
    most = max(value for value, _ in seen)
    return GaugeStats(mean=min(max(mean, least), most), min=least, max=most)  # rounding can leave the range


def kv_usage(gauges: Mapping[Figure, Values]) -> Values | None:
    """KV cache use, computed from its parts if the engine reports no share."""
    if Figure.KV_USAGE in gauges:
        return gauges[Figure.KV_USAGE]
    used = gauges.get(Figure.KV_USED)
    total = gauges.get(Figure.KV_TOTAL)
    if used is None or total is None:
        return None
    return [min(1.0, u / t) if u is not None and t else None for u, t in zip(used, total, strict=True)]


def _share(values: Values | None, steps: Sequence[_Step], of: Sequence[_Step]) -> float | None:
    known = sum(step.seconds for step in steps if values and values[step.index] is not None)
    return sum(step.seconds for step in of) / known if known else None


def _fewest(running: Values | None, full: Sequence[_Step]) -> float | None:
    return min((n for step in full if running and (n := running[step.index]) is not None), default=None)


def _saturated(gauges: Mapping[Figure, Values], steps: Sequence[_Step]) -> float | None:
    """Of the time with a queue, how much of it had as many running requests as ever: a limit keeps these constant."""
    running = gauges.get(Figure.RUNNING)
    waiting = gauges.get(Figure.WAITING)
    if running is None or waiting is None:
        return None
    queued = [s for s in steps if (waiting[s.index] or 0.0) > _QUEUED and running[s.index] is not None]
    if not queued:
        return None
    most = max(running[s.index] or 0.0 for s in queued)
    return sum(s.seconds for s in queued if running[s.index] == most) / sum(s.seconds for s in queued)


def _growth(waiting: Values | None, steps: Sequence[_Step], window_s: float) -> float | None:
    first = _stats(waiting, _between(steps, 0.0, window_s / 3))
    last = _stats(waiting, _between(steps, window_s * 2 / 3, window_s))
    if first is None or last is None:
        return None
    return (last.mean - first.mean) / (window_s * 2 / 3)


def _between(steps: Sequence[_Step], begin: float, end: float) -> list[_Step]:
    """The parts of the steps between two times."""
    cut = [(s.index, max(begin, s.begin), min(end, s.begin + s.seconds)) for s in steps]
    return [_Step(index, since, until - since) for index, since, until in cut if until > since]


def _counted(
    found: Mapping[Figure, Values | None],
    source: MetricsSource,
    times: Sequence[float],
    window_s: float,
    notes: list[str],
) -> dict[Figure, float]:
    """Increase of each counter over the window; none at all if one was reset, because another process answered."""
    counters = {figure: values for figure, values in found.items() if figure in COUNTERS and values is not None}
    if any(_was_reset(values) for values in counters.values()):
        notes.append("counters went back: more than one server process answered, so no counter is used")
        return {}
    counted = {figure: _difference(values, times, window_s) for figure, values in counters.items()}
    if Figure.GENERATED_TOKENS in counted:
        counted |= {figure: 0.0 for figure in source.born_late if figure not in counted}
    return counted


def _was_reset(values: Values) -> bool:
    known = [value for value in values if value is not None]
    return any(later < earlier for earlier, later in pairwise(known))


def _difference(values: Values, times: Sequence[float], window_s: float) -> float:
    """A counter that appears after the first sample was 0 before."""
    points = [(at, value or 0.0) for at, value in zip(times, values, strict=True)]
    return _at(points, window_s) - _at(points, 0.0)


def _at(points: Sequence[tuple[float, float]], moment: float) -> float:
    """A counter's interpolated value at a time; that of the nearest sample if there is none on one side."""
    before = [point for point in points if point[0] <= moment]
    after = [point for point in points if point[0] > moment]
    if not before:
        return after[0][1]
    if not after:
        return before[-1][1]
    (t0, v0), (t1, v1) = before[-1], after[0]
    return v0 + (v1 - v0) * (moment - t0) / (t1 - t0)


def _prefixes(counted: Mapping[Figure, float]) -> tuple[float | None, float | None]:
    """Cached tokens and all prompt tokens."""
    cached = counted.get(Figure.CACHED_TOKENS)
    computed = counted.get(Figure.COMPUTED_TOKENS)
    prompts = counted.get(Figure.PROMPT_TOKENS)
    if prompts is None and computed is not None and cached is not None:
        prompts = computed + cached
    return cached, prompts


def _ratio(part: float | None, whole: float | None, gauge: Values | None, steps: Sequence[_Step]) -> float | None:
    """The ratio of two counters; a gauge with the same meaning is used only if they are missing."""
    if part is not None and whole is not None:
        return min(1.0, part / whole) if whole > 0 else None
    found = _stats(gauge, steps)
    return None if found is None else min(1.0, found.mean)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
