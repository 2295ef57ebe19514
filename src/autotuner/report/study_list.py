"""Lists of stored studies: their orders, and the rows of pages."""

from collections.abc import Mapping
from enum import StrEnum

from autotuner.report.overview import StudyOverview
from autotuner.study.base import FrozenModel
from autotuner.study.metric import Direction


class SortBy(StrEnum):
    """Orders of the list of studies."""

    AGE = "age"
    NAME = "name"
    STATE = "state"
    GAIN = "gain"
    LAUNCHES = "launches"


class ListedObjective(FrozenModel):
    """The first objective of a study."""

    metric: str
    statistic: str | None
    direction: Direction


class StudyRow(FrozenModel):
    """A study in a list: its progress and its answer, without its study file."""

    name: str
    standing: str
    """The state for people: ``queued``, ``cut off``, or as it is stored."""
    running: bool
    launches: int
    """Trials with a result, including repeats."""
    planned: int
    """Maximum that ``launches`` can reach."""
    engines: tuple[str, ...]
    objective: ListedObjective | None
    ending: str
    """What its trials show."""
    trial: int | None
    """Number of the trial to use; null if nothing is feasible or nothing was measured yet."""
    configuration: str
    """Its values as text."""
    value: float | None
    """Its first objective, in the metric's unit."""
    change: float | None
    """Relative change of the metric against the default (0.1 is 10% up), from repeats only."""
    updated_at: float
    """Seconds since the epoch."""


class StudyRows(FrozenModel):
    """A part of a list of studies."""

    items: tuple[StudyRow, ...]
    total: int
    """Number of studies in the whole list, after filtering."""
    offset: int
    """Position of the first of ``items`` in it."""
    standings: Mapping[str, int]
    """Number of all stored studies by standing, whatever the filters are."""
    engines: tuple[str, ...]
    """Engines of all stored studies."""


def study_row(study: StudyOverview) -> StudyRow:
    """The row of a study."""
    first = study.spec.objectives[0] if study.spec.objectives else None
    answer = study.answer
    return StudyRow(
        name=study.name,
        standing=study.standing,
        running=study.running,
        launches=study.launches,
        planned=study.planned,
        engines=study.spec.engine_kinds,
        objective=first and ListedObjective(metric=first.metric, statistic=first.statistic, direction=first.direction),
        ending=answer.ending.value,
        trial=answer.trial,
        configuration=answer.configuration,
        value=answer.value,
        change=answer.change,
        updated_at=study.updated_at,
    )
