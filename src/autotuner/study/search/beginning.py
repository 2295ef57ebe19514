"""What was known when a study began: its hardware, and the earlier studies that its search learns from."""

from pydantic import Field

from autotuner.study.base import FrozenModel
from autotuner.study.launch import Hardware
from autotuner.study.search.evidence import EarlierStudy, Facet

DEFINITIONS = 1
"""Version of the definitions of the metrics; measurements by different definitions cannot be compared."""


class LearnedFrom(FrozenModel):
    """An earlier study that the search learns from."""

    study: str
    same: tuple[Facet, ...] = ()
    """What it has in common with the new one."""
    other: tuple[Facet, ...] = ()
    """What differs; it counts the less."""
    trials: int
    levels: int
    """Measured levels of these trials."""

    @classmethod
    def of(cls, study: EarlierStudy) -> "LearnedFrom":
        """The summary of what is known of an earlier study."""
        other = tuple(facet for facet in Facet if facet not in study.shared)
        same = tuple(facet for facet in Facet if facet in study.shared)
        return cls(study=study.study, same=same, other=other, trials=len(study.trials), levels=study.windows)

    @property
    def text(self) -> str:
        """``chat-8b (same model, gpu, engine; other workload; 12 trials, 48 levels)``."""
        same = [f"same {', '.join(self.same)}"] if self.same else []
        other = [f"other {', '.join(self.other)}"] if self.other else []
        counts = f"{_count(self.trials, 'trial')}, {_count(self.levels, 'level')}"
        return f"{self.study} ({'; '.join([*same, *other, counts])})"


class UnusedStudy(FrozenModel):
    """A stored study that the search does not learn from."""

    study: str
    why: str


class Beginning(FrozenModel):
    """What was known when a study began."""

    hardware: Hardware | None = None
    """Of the target; None if it did not answer."""
    definitions: int = DEFINITIONS
    """:data:`DEFINITIONS` of the version that measured the study."""
    learned: tuple[LearnedFrom, ...] = ()
    """The most closely related study first."""
    unused: tuple[UnusedStudy, ...] = Field(default=())
    """Studies of the same engine that are not learned from, the first ones."""
    more_unused: int = 0
    """Number of further ones."""

    @property
    def text(self) -> str:
        """What the search learns from, as one line; empty if from nothing."""
        if not self.learned:
            return ""
        return f"warm start from {_count(len(self.learned), 'earlier study', 'earlier studies')}: " + "; ".join(
            found.text for found in self.learned
        )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
