"""How the misses of a bad level would cluster, estimated from the other levels of the search.

A bad level may have a lucky stretch with few and small clusters, so its own requests are not enough. The dispersion of
the number of misses grows with the square root of their share; what a bad level showed is scaled to the allowed share.
At loads far below that level, the queue forgets faster and clusters are smaller.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import median

from autotuner.capacity.level_result import LevelResult, dispersion_of
from autotuner.capacity.observation import ShareCount

LENGTHY = 700
"""Requests from which a level itself shows how misses cluster."""
_SHORT = 200
"""Requests below which a level's clusters are not used."""
_MISSES = 20
"""Fewest misses of a level whose clusters are used."""
_FEW_MISSES = 8
"""The same for a lengthy level, whose slowest requests stand in for misses."""
_CUT_SHORT = 0.02
"""Dispersion per request from which a level was too short for its clusters: the estimate uses 20 blocks and can hardly
exceed 0.05."""
_CLUSTERS = 10
"""Number of clusters that such a level is assumed to have met."""
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
    """The dispersion of a level, scaled to the allowed share of misses; None if the level did not show it."""
    one = result.observations[index]
    if not isinstance(one, ShareCount):
        return None
    dispersion = dispersion_of(result, index)
    misses = one.misses * dispersion
    if result.requests < _SHORT or misses < (_MISSES if result.requests < LENGTHY else _FEW_MISSES):
        return None
    if dispersion >= _CUT_SHORT * result.requests:
        dispersion = max(dispersion, result.requests / _CLUSTERS)
    return dispersion * sqrt(min(1.0, one.allowed * result.requests / misses))
