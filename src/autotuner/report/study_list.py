"""Lists of stored studies: filters and orders."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from fnmatch import fnmatch

from autotuner.report.overview import StudyOverview


class SortBy(StrEnum):
    """Orders of the list of studies."""

    AGE = "age"
    NAME = "name"
    STATE = "state"
    GAIN = "gain"
    LAUNCHES = "launches"


def filtered_and_sorted(
    studies: Sequence[StudyOverview], *, sort: str, state: str | None, engine: str | None, match: str | None
) -> list[StudyOverview]:
    """Returns the studies that pass all filters, in order.

    Args:
        studies: All studies.
        sort: A value of :class:`SortBy`.
        state: Only studies in this state.
        engine: Only studies of this engine.
        match: Only studies whose names match this pattern, with ``*`` and ``?``.
    """
    found = [
        s
        for s in studies
        if (state is None or s.standing == state or s.state == state)
        and (engine is None or engine in s.spec.engine_kinds)
        and (match is None or fnmatch(s.name, match))
    ]
    return sorted(found, key=_KEYS[SortBy(sort)])


_KEYS: dict[SortBy, Callable[[StudyOverview], tuple[object, ...]]] = {
    SortBy.AGE: lambda s: (-s.updated_at, s.name),
    SortBy.NAME: lambda s: (s.name,),
    SortBy.STATE: lambda s: (s.standing, -s.updated_at),
    SortBy.GAIN: lambda s: (-_gain(s), s.name),
    SortBy.LAUNCHES: lambda s: (-s.launches, s.name),
}


def _gain(study: StudyOverview) -> float:
    """The change with a sign by which more is better; minus infinity if it is unknown."""
    change = study.answer.change
    if change is None:
        return float("-inf")
    return change if study.spec.objectives[0].direction.value == "max" else -change
