"""What was known when a study began: its hardware, and the earlier studies that its search learns from."""

from collections.abc import Mapping

from pydantic import Field

from autotuner.study.base import FrozenModel
from autotuner.study.launch import Hardware
from autotuner.study.search.evidence import EarlierStudy, Facet

DEFINITIONS = 1
"""Version of the definitions of the metrics; measurements by different definitions cannot be compared."""


class LearnedFrom(FrozenModel):
    """An earlier study that the search learns from."""

    study: str
    engine: str = ""
    """The engine of the new study that it says something about; empty if the new study has only one."""
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
        return cls(
            study=study.study,
            engine=study.engine,
            same=same,
            other=other,
            trials=len(study.trials),
            levels=study.windows,
        )

    @property
    def text(self) -> str:
        """``chat-8b (same model, gpu, engine; other workload; 12 trials, 48 levels)``; with several engines,
        ``chat-8b for sglang (...)``."""
        same = [f"same {', '.join(self.same)}"] if self.same else []
        other = [f"other {', '.join(self.other)}"] if self.other else []
        counts = f"{_count(self.trials, 'trial')}, {_count(self.levels, 'level')}"
        about = f" for {self.engine}" if self.engine else ""
        return f"{self.study}{about} ({'; '.join([*same, *other, counts])})"


class UnusedStudy(FrozenModel):
    """A stored study that the search does not learn from."""

    study: str
    why: str


class Beginning(FrozenModel):
    """What was known when a study began."""

    hardware: Hardware | None = None
    """Of the target; None if it did not answer. With several engines, that of the first one's target."""
    engine_hardware: Mapping[str, Hardware] = Field(default_factory=dict)
    """The same for each of several engines, by name, without those whose targets did not answer."""
    definitions: int = DEFINITIONS
    """:data:`DEFINITIONS` of the version that measured the study."""
    learned: tuple[LearnedFrom, ...] = ()
    """The most closely related study first."""
    unused: tuple[UnusedStudy, ...] = Field(default=())
    """Studies of the same engine that are not learned from, the first ones."""
    more_unused: int = 0
    """Number of further ones."""

    def hardware_of(self, engine: str) -> Hardware | None:
        """That of an engine's target, if it is known; ``engine`` is empty if the study has only one."""
        return self.engine_hardware.get(engine) if engine else self.hardware

    @property
    def text(self) -> str:
        """What the search learns from, as one line; empty if from nothing."""
        if not self.learned:
            return ""
        studies = len({found.study for found in self.learned})
        return f"warm start from {_count(studies, 'earlier study', 'earlier studies')}: " + "; ".join(
            found.text for found in self.learned
        )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
