"""Dependence between the requests of one level: how many of them carry the information of one independent request.

Misses come in clusters, because a long queue delays every request in it. The dispersion is the variance of the number
of marked requests in blocks, relative to independent requests (batch means; Conway 1963, Flegal and Jones 2010). It is
about 1 for independent requests, 5 to 30 for a queue at its p99 limit, and more than 100 close to saturation.
"""

from collections.abc import Callable, Sequence
from statistics import fmean

_BLOCKS = 20
"""Blocks that a sequence is cut into. More blocks are too short for the dependence, fewer too noisy."""
_SHORTEST = 4
_FEWEST_BLOCKS = 6
_MARKED = 40
"""Requests in the tail from which the dispersion is estimated."""
_FEWEST_MARKED = 8
_STRETCH = 1.6
"""Limit of the extrapolation to infinite blocks, relative to the estimate with finite ones."""


def dispersion(marks: Sequence[bool]) -> float:
    """Estimates the dispersion of a sequence of marked requests.

    Blocks that are shorter than the dependence show only part of it. The bias falls with one over the length of a
    block, so two lengths give the limit (Richardson's extrapolation).

    Args:
        marks: One flag per request, in the order of arrival.

    Returns:
        At least 1.0, the value for independent requests.
    """
    length = max(_SHORTEST, len(marks) // _BLOCKS)
    estimate = _at_length(marks, length)
    if estimate is None:
        return 1.0
    half = _at_length(marks, max(2, length // 2))
    if half is not None:
        estimate = max(estimate, min(2 * estimate - half, _STRETCH * estimate))
    return max(1.0, estimate)


def tail_dispersion(values: Sequence[float], limit: float) -> float:
    """Estimates the dispersion of the requests above a limit, also where hardly any are above it.

    With few misses, the largest values stand in for them: excursions of a queue above different thresholds cluster
    alike, and with more requests the threshold moves towards the limit.

    Args:
        values: One value per request, in the order of arrival, in the unit of ``limit``.
        limit: Values above it are misses.

    Returns:
        At least 1.0.
    """
    missed = sum(value > limit for value in values)
    threshold = limit
    if missed < _MARKED:
        marked = min(_MARKED, max(_FEWEST_MARKED, len(values) // 8))
        if len(values) <= marked:
            return 1.0
        threshold = min(limit, sorted(values)[-marked - 1])
    marks = [value > threshold for value in values]
    return dispersion(marks) if sum(marks) >= _FEWEST_MARKED else 1.0


def residual_dispersion(values: Sequence[float], limit: float, predicted: Callable[[float], Sequence[float]]) -> float:
    """Estimates the dispersion of the misses that a prediction leaves unexplained.

    As in :func:`tail_dispersion`, the largest values stand in for misses where there are few of them.

    Args:
        values: One value per request, in the order of arrival, in the unit of ``limit``.
        limit: Values above it are misses.
        predicted: Returns each request's chance to exceed a limit.

    Returns:
        At least 1.0.
    """
    threshold = limit
    if sum(value > limit for value in values) < _MARKED:
        marked = min(_MARKED, max(_FEWEST_MARKED, len(values) // 8))
        if len(values) <= marked:
            return 1.0
        threshold = min(limit, sorted(values)[-marked - 1])
    chances = predicted(threshold)
    beyond = [(value > threshold) - chance for value, chance in zip(values, chances, strict=True)]
    estimate = mean_dispersion(beyond)
    half = mean_dispersion(beyond, blocks=2 * _BLOCKS)
    return max(estimate, min(2 * estimate - half, _STRETCH * estimate))


def mean_dispersion(values: Sequence[float], blocks: int = _BLOCKS) -> float:
    """Estimates by how much the variance of a mean exceeds that of independent requests.

    Args:
        values: One value per request, in the order of arrival.
        blocks: Blocks that the values are cut into.

    Returns:
        At least 1.0.
    """
    length = max(_SHORTEST, len(values) // blocks)
    blocks = len(values) // length
    if blocks < _FEWEST_BLOCKS:
        return 1.0
    mean = fmean(values)
    single = fmean([(value - mean) ** 2 for value in values])
    if single == 0:
        return 1.0
    skipped = len(values) - blocks * length
    means = [fmean(values[start : start + length]) for start in range(skipped, len(values), length)]
    mean = fmean(means)
    spread = sum((one - mean) ** 2 for one in means) / (blocks - 1)
    return max(1.0, spread * length / single)


def memory(in_flight: Sequence[int]) -> float:
    """Estimates for how many requests the server's queue remembers its state.

    Args:
        in_flight: Requests in flight when each request arrived, in the order of arrival.

    Returns:
        The dispersion of arrivals that find an unusually long queue, at least 1.0.
    """
    if not in_flight:
        return 1.0
    threshold = sorted(in_flight)[int(0.8 * len(in_flight))]
    return dispersion([count > threshold for count in in_flight])


def windows_with(marks: Sequence[bool], length: int) -> int:
    """Counts windows that hold all marked requests; each opens with the first one after the window before it.

    Args:
        marks: One flag per request, in the order of arrival.
        length: Requests per window.
    """
    count = 0
    end = 0
    for index, mark in enumerate(marks):
        if mark and index >= end:
            count += 1
            end = index + length
    return count


def _at_length(marks: Sequence[bool], length: int) -> float | None:
    """The dispersion by blocks of one length; None if there are too few blocks, or no marks to count."""
    blocks = len(marks) // length
    if blocks < _FEWEST_BLOCKS:
        return None
    skipped = len(marks) - blocks * length  # the oldest ones, closest to the warm-up
    counts = [sum(marks[start : start + length]) for start in range(skipped, len(marks), length)]
    mean = sum(counts) / blocks
    if mean in (0, length):
        return None
    variance = sum((count - mean) ** 2 for count in counts) / (blocks - 1)
    return variance / (mean * (1 - mean / length))
