"""How the misses of a level would cluster if it were a bad one, by what the other levels of its search showed.

A lucky stretch of a bad level has few and small clusters, so its own requests do not tell. The dispersion of the number
of misses grows with the root of their share, so that what was seen at a bad level is scaled to the allowed share. Far
below such a level, the queue forgets faster.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import median

from autotuner.capacity.level_result import LevelResult
from autotuner.capacity.observation import ShareCount

LENGTHY = 700
"""Requests of a level that shows by itself how misses cluster."""
_SHORT = 200
"""Requests of a level below which its clusters say nothing."""
_MISSES = 20
"""Misses of a level from which its clusters are counted."""
_FEW_MISSES = 8
"""The same for a lengthy level, whose slowest requests stand in for misses."""
_CUT_SHORT = 0.02
"""Dispersion per request of a level from which the level was as short as its clusters: an estimate from 20 blocks can
hardly exceed 0.05."""
_CLUSTERS = 10
"""Clusters that such a level may have met."""
_FORGETS = 0.85
"""Part of a level's load above which its clusters are those of a just acceptable load."""
_FORGETTING = 6
"""Power of the load with which clusters shrink below that. It is an envelope of the servers of
``benchmarks/capacity.py``: their dispersion at the capacity, the share of misses allowed for, is 0.4 to 0.85 of that at
1.2 times the capacity, and a third of that at 1.4 times."""


def dispersions_at(load: float, results: Sequence[LevelResult]) -> tuple[float, ...]:
    """The least dispersion that a level is tested with, one per bound.

    Args:
        load: Load of the level.
        results: The levels before it.

    Returns:
        At least 1.0 each; nothing without results.
    """
    count = len(results[0].observations) if results else 0
    return tuple(_dispersion_at(load, results, index) for index in range(count))


def _dispersion_at(load: float, results: Sequence[LevelResult], index: int) -> float:
    near = []
    far = []
    for result in results:
        found = _at_allowed_share(result, index)
        if found is None:
            continue
        part = load / (_FORGETS * result.load)
        if part >= 1:
            near.append(found)
        else:
            far.append(found * part**_FORGETTING)
    return max(1.0, median(near or far or [1.0]))


def _at_allowed_share(result: LevelResult, index: int) -> float | None:
    """The dispersion that a level showed, for as many misses as the bound allows; None if it showed none."""
    one = result.observations[index]
    if not isinstance(one, ShareCount) or not one.requests:
        return None
    dispersion = result.requests / one.requests
    misses = one.misses * dispersion
    if result.requests < _SHORT or misses < (_MISSES if result.requests < LENGTHY else _FEW_MISSES):
        return None
    if dispersion >= _CUT_SHORT * result.requests:
        dispersion = max(dispersion, result.requests / _CLUSTERS)
    return dispersion * sqrt(min(1.0, one.allowed * result.requests / misses))
