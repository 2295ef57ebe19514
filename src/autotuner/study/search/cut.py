"""Trials that ended before all of their levels were measured."""

from enum import StrEnum

from autotuner.study.base import FrozenModel


class CutReason(StrEnum):
    """What the measured levels of a trial had decided."""

    SLO = "slo"
    """It misses an SLO, and a better trial is known."""
    CANNOT_WIN = "cannot_win"
    """Enough other trials are better, whatever the levels that are left show."""


class Left(FrozenModel):
    """A level that was not measured."""

    scenario: str
    level: str


class Cut(FrozenModel):
    """Why and where a trial ended early. Its verdict has the bounds of its objectives."""

    reason: CutReason
    text: str
    """The decision with its bound, in one line."""
    left: tuple[Left, ...]
    rivals: tuple[int, ...]
    """Numbers of the trials that it cannot beat, best first."""
    confidence: float | None = None
    """That the full windows would have decided the same, if a look at short windows ended the trial; None if nothing
    that was left out could have changed the decision."""
    saved_s: float
    """Least seconds that the windows left out would have taken."""
