"""What a trial's server and GPUs did over its time, as charts with its phases."""

from collections.abc import Iterable, Mapping, Sequence

from autotuner.study.base import FrozenModel
from autotuner.study.launch import GpuSample

POINTS = 400
"""Most points of a line."""

_SERVER_CHARTS: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    ("requests", "Requests in the server", "requests", {"running": "running", "waiting": "waiting"}),
    ("kv_usage", "KV cache in use", "%", {"kv_usage": "KV cache"}),
    ("tokens", "Tokens in the server", "tokens/s", {"generated_rate": "generated", "prompt_rate": "prompts"}),
    ("preemptions", "Preemptions", "per s", {"preemption_rate": "preemptions"}),
)
"""Charts of figures of the server: id, title, unit, and the name of each figure's line."""
_GPU_CHARTS = (
    ("utilization", "GPU utilization", "%"),
    ("memory_gb", "GPU memory", "GiB"),
    ("power_w", "GPU power", "W"),
    ("temperature_c", "GPU temperature", "°C"),
    ("clock_mhz", "GPU clock", "MHz"),
)
_SHARES = frozenset({"kv_usage", "utilization"})


class PhaseSpan(FrozenModel):
    """A phase of the trial, in seconds from its start."""

    phase: str
    scenario: str
    level: str
    """Of the window, while it warms up and measures; empty otherwise."""
    begin: float
    end: float


class HistoryLine(FrozenModel):
    """One line of a chart."""

    name: str
    at: tuple[float, ...]
    """Seconds from the start of the trial, ascending."""
    values: tuple[float | None, ...]
    """In the unit of the chart; None interrupts the line."""


class HistoryChart(FrozenModel):
    """What was sampled over time."""

    id: str
    title: str
    unit: str
    lines: tuple[HistoryLine, ...]


class TrialHistory(FrozenModel):
    """Phases of a trial, and what its server and its GPUs reported meanwhile."""

    study: str
    trial: int
    simulated: bool
    began_at: float
    """Seconds since the epoch."""
    length_s: float
    phases: tuple[PhaseSpan, ...]
    charts: tuple[HistoryChart, ...]
    """Lines have at most a few hundred points; the least and the largest value of each stretch of time are among
    them."""


Track = tuple[Sequence[float], Sequence[float | None]]
"""Times and values."""


def server_charts(tracks: Mapping[str, Track]) -> list[HistoryChart]:
    """Charts of a server's figures; those without a value are left out.

    Args:
        tracks: Times from the start of the trial and values, by figure.
    """
    found = []
    for name, title, unit, figures in _SERVER_CHARTS:
        lines = [_line(text, tracks[figure], figure) for figure, text in figures.items() if figure in tracks]
        found += _chart(name, title, unit, lines)
    return found


def gpu_charts(samples: Iterable[GpuSample], began_at: float) -> list[HistoryChart]:
    """Charts of GPU sensors, with one line per GPU; those that no GPU reports are left out.

    Args:
        samples: In any order.
        began_at: Start of the trial, in seconds since the epoch.
    """
    by_gpu: dict[int, list[GpuSample]] = {}
    for sample in sorted(samples, key=lambda s: s.at):
        by_gpu.setdefault(sample.index, []).append(sample)
    found = []
    for name, title, unit in _GPU_CHARTS:
        lines = [
            _line(f"GPU {index}", ([s.at - began_at for s in own], [getattr(s, name) for s in own]), name)
            for index, own in sorted(by_gpu.items())
        ]
        found += _chart(name, title, unit, lines)
    return found


def _chart(name: str, title: str, unit: str, lines: Sequence[HistoryLine]) -> list[HistoryChart]:
    known = tuple(line for line in lines if any(value is not None for value in line.values))
    return [HistoryChart(id=name, title=title, unit=unit, lines=known)] if known else []


def _line(name: str, track: Track, figure: str) -> HistoryLine:
    factor = 100.0 if figure in _SHARES else 1.0
    at, values = thinned(*track, most=POINTS)
    return HistoryLine(name=name, at=at, values=tuple(None if v is None else v * factor for v in values))


def thinned(
    at: Sequence[float], values: Sequence[float | None], *, most: int
) -> tuple[tuple[float, ...], tuple[float | None, ...]]:
    """At most about ``most`` points of a line, the least and the largest value of each stretch among them.

    Args:
        at: Times, ascending.
        values: One value per time; None where the line is interrupted.
        most: Number of points.
    """
    if len(at) <= most:
        return tuple(at), tuple(values)
    size = -(-2 * len(at) // most)
    chosen: list[int] = []
    for begin in range(0, len(at), size):
        stretch = range(begin, min(begin + size, len(at)))
        known = [(values[i], i) for i in stretch if values[i] is not None]
        gap = [i for i in stretch if values[i] is None][:1]
        ends = [min(known)[1], max(known)[1]] if known else []
        chosen += sorted({*ends, *gap})
    return tuple(at[i] for i in chosen), tuple(values[i] for i in chosen)
