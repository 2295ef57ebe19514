"""What one level of a search has shown, and what it counts for the curve and the error rate."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from math import exp, inf

from autotuner.capacity.level import LevelState
from autotuner.capacity.observation import Observation, ShareCount

_LOCAL = 0.3
"""Distance from the capacity, in log load, at which a level has half its weight in the curve."""


class Missing(StrEnum):
    """Why an end of the bracket is missing."""

    BUDGET = "budget used"
    INTERRUPTED = "the search was interrupted"
    NEVER_MET = "SLO not met at the lowest load"
    NEVER_SATURATED = "SLO still met at the highest load"
    CLIENT_LIMITED = "load generator at its limit"
    CUT = "not shown to hold more than the best configuration"
    ENOUGH = "certified close to the estimated capacity"
    UNDECIDED = "replay not decided"


@dataclass(frozen=True)
class LevelResult:
    """What one level has shown."""

    load: float
    state: LevelState
    requests: int
    """Requests spent, warm-up included."""
    observations: tuple[Observation, ...]
    """One per bound."""
    leaning: float
    """Log evidence for the bounds minus that against them."""
    below: float = -inf
    """Log evidence for the bounds when the level ended."""
    above: float = -inf
    """Log evidence against them."""


def failed(result: LevelResult) -> bool:
    return result.state in (LevelState.REFUTED, LevelState.SATURATED)


def highest_certified(results: Iterable[LevelResult]) -> float | None:
    return max((one.load for one in results if one.state is LevelState.CERTIFIED), default=None)


def lowest_refuted(results: Iterable[LevelResult], certified: float | None) -> float | None:
    """The lowest refuted load above the certified one."""
    above = certified or 0.0
    return min((one.load for one in results if failed(one) and one.load > above), default=None)


def is_monotone(results: Iterable[LevelResult], certified: float | None) -> bool:
    """Whether every refuted load is above every certified one."""
    return not any(failed(one) and one.load < (certified or 0.0) for one in results)


def promising(result: LevelResult) -> bool:
    """Whether a level looks as if it meets the bounds."""
    if result.state is LevelState.OPEN:
        return result.leaning > 0
    return result.state is LevelState.CERTIFIED


def used(part: float, evidence: float, *, decided: bool) -> float:
    """What a level has used of its part of the error rate.

    One that was left with evidence e has used no more than 1 - e of it: by optional stopping, that bounds the chance
    that it had been decided wrongly before. The parts of all levels therefore add up to at most the whole, whatever the
    levels were chosen by, and whichever of them becomes an end of the bracket.
    """
    return part if decided else part * (1 - exp(min(0.0, evidence)))


def dispersion_of(result: LevelResult, index: int) -> float:
    requests = result.observations[index].requests
    return max(1.0, result.requests / requests) if requests else 1.0


def tempered(result: LevelResult, index: int, dispersion: float) -> Observation:
    """An observation, with at least a dispersion."""
    one = result.observations[index]
    part = min(1.0, dispersion_of(result, index) / dispersion)
    return _scaled(one, part)


def weighted(one: Observation, distance: float) -> Observation:
    """An observation, with less weight the further it is from the capacity."""
    return _scaled(one, 1 / (1 + (distance / _LOCAL) ** 2))


def _scaled(one: Observation, part: float) -> Observation:
    if isinstance(one, ShareCount):
        return replace(one, requests=part * one.requests, misses=part * one.misses)
    return replace(one, requests=part * one.requests)
