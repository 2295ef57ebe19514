"""Arrival times of an open loop, drawn from the seed before the run and independent of the server's speed.

Random arrivals are conditioned on their count: exactly ``round(rate * duration)`` fall into the duration. Every window
thus offers the requested rate, and all configurations face the same load. A Poisson process conditioned on its count
keeps its distribution (exponential gaps divided by their sum).
"""

from collections.abc import Sequence
from itertools import accumulate
from math import ceil, sqrt
from random import Random

from autotuner.benchmarks.loadgen.spec import WorkerSpec

_Stage = tuple[float, float, float]
"""Rate at the start, rate at the end, length in seconds."""


def arrivals(kind: str, rate: float, duration_s: float, rng: Random, *, burstiness: float = 1.0) -> list[float]:
    """Draws arrival times.

    Args:
        kind: ``constant``, ``poisson`` or ``gamma``.
        rate: Requests per second.
        duration_s: Length of the span, in seconds.
        rng: Source of randomness.
        burstiness: Shape of the gamma distribution; the coefficient of variation of the gaps is ``burstiness ** -0.5``.

    Returns:
        Ascending times in seconds from the start, all below ``duration_s``.
    """
    count = max(1, round(rate * duration_s)) if duration_s > 0 else 0
    if kind == "constant":
        return [index / rate for index in range(count)]
    shape = burstiness if kind == "gamma" else 1.0
    gaps = [rng.gammavariate(shape, 1.0) for _ in range(count + 1)]
    scale = duration_s / (sum(gaps) or 1.0)
    return [min(at * scale, duration_s * (1 - 1e-12)) for at in accumulate(gaps[:-1])]


def window_arrivals(spec: WorkerSpec) -> tuple[list[float], list[float]]:
    """Draws the arrivals of a window's open loop.

    After the warm-up, the schedule consists of parts as long as the shortest window, each of which offers exactly the
    requested rate. Arrivals after the window's end keep the load up until its last requests have ended. A load in
    stages is warmed up at its first rate and kept up at its last one.

    Returns:
        Arrivals of the warm-up, in seconds from its start, and of all that follows, in seconds from the window's
        opening.
    """
    if spec.stages:
        return _staged_window(spec)
    rate = spec.rate or 1.0
    # Levels of one search must not share their arrivals: a lucky draw would repeat at every rate.
    rng = Random(f"{spec.seed}:arrivals" if spec.level is None else f"{spec.seed}:{spec.salt}:arrivals")
    warm = arrivals(spec.arrivals, rate, spec.warmup_s, rng, burstiness=spec.burstiness)
    parts = ceil((max(spec.max_duration_s, spec.duration_s) + spec.drain_s) / spec.duration_s)
    main = [
        part * spec.duration_s + at
        for part in range(parts)
        for at in arrivals(spec.arrivals, rate, spec.duration_s, rng, burstiness=spec.burstiness)
    ]
    return warm, main


def stage_arrivals(
    kind: str, stages: Sequence[_Stage], rng: Random, *, burstiness: float = 1.0, begin_s: float = 0.0
) -> list[float]:
    """Draws arrival times of a load whose rate changes.

    Each stage has exactly its share of the requests. Within a stage, times are drawn at a constant rate and moved to
    where the sum of the changing rate is the same, which keeps a Poisson process one.

    Args:
        kind: As for :func:`arrivals`.
        stages: The stages in order.
        rng: Source of randomness.
        burstiness: As for :func:`arrivals`.
        begin_s: When the first stage begins.
    """
    found: list[float] = []
    due = 0.0
    for begin, end, span_s in stages:
        due += (begin + end) / 2 * span_s
        count = round(due) - len(found)
        even = arrivals(kind, float(count), 1.0, rng, burstiness=burstiness) if count > 0 else []
        found += [begin_s + span_s * _ramp(share, begin, end) for share in even]
        begin_s += span_s
    return found


def _ramp(share: float, begin: float, end: float) -> float:
    """When so large a share of a stage's requests has arrived, as a share of the stage's length."""
    if begin == end:
        return share
    # Solves begin t + (end - begin) t^2 / 2 = share (begin + end) / 2, in a form that does not cancel digits.
    root = sqrt(begin * begin + share * (end * end - begin * begin))
    return min(share * (begin + end) / (begin + root), 1 - 1e-12) if begin + root > 0 else 0.0


def _staged_window(spec: WorkerSpec) -> tuple[list[float], list[float]]:
    rng = Random(f"{spec.seed}:arrivals")
    shape = spec.burstiness
    first = spec.stages[0][0]
    last = spec.stages[-1][1]
    warm = stage_arrivals(spec.arrivals, [(first, first, spec.warmup_s)], rng, burstiness=shape)
    main = stage_arrivals(spec.arrivals, spec.stages, rng, burstiness=shape)
    drain = [(last, last, spec.drain_s)]
    return warm, main + stage_arrivals(spec.arrivals, drain, rng, burstiness=shape, begin_s=spec.duration_s)
