"""What earlier studies measured, as far as a new one may learn from it.

It only shifts what a search expects before its first launch. Nothing of it is a result of the new study: it enters no
ranking and no proof.
"""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from autotuner.study.base import FrozenModel, Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import FailureCause
from autotuner.study.objective import SLO
from autotuner.study.search.goals import Place


class Facet(StrEnum):
    """What two studies may have in common."""

    MODEL = "model"
    GPU = "gpu"
    ENGINE = "engine"
    """Kind and release of the engine."""
    WORKLOAD = "workload"


class EarlierWindow(FrozenModel):
    """One measured level of a launch of an earlier study."""

    place: Place
    values: Mapping[str, float]
    """Measured values by :func:`metric_text`, in the metrics' units."""
    uncertainty: Mapping[str, float] = Field(default_factory=dict)
    """Half-width of the 95% interval relative to the value, by :func:`metric_text`."""
    predicted: Mapping[str, float] = Field(default_factory=dict)
    """Natural logarithms of predicted values by :func:`metric_text`; empty without a prediction."""
    slopes: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)
    """Derivatives of ``predicted`` by calibration parameter; see :class:`LevelForecast`."""


class EarlierTrial(FrozenModel):
    """One launch of an earlier study."""

    number: int
    values: Mapping[str, Value]
    """What the launch set: parameters by the new study's names, all flags by canonical name."""
    flags: Mapping[str, Value] = Field(default_factory=dict)
    """Flags by canonical name, and tuned variables, that reached the server."""
    configuration: Configuration | None = None
    """The configuration of the new study that starts the same server; None if none does."""
    unlike: tuple[str, ...] = ()
    """Flags and variables, with their values, in which the launch differs from all those of the new study."""
    gpus: int = 0
    failed: FailureCause | None = None
    """Why it could not be measured, if that was due to its configuration."""
    windows: tuple[EarlierWindow, ...] = ()


class EarlierStudy(FrozenModel):
    """An earlier study, and how it is related to the new one."""

    study: str
    engine: str = ""
    """The engine of the new study that it says something about; empty if the new study has only one."""
    facets: Mapping[Facet, str]
    """Its model, GPU, engine and workload, for display."""
    shared: tuple[Facet, ...] = ()
    """Those that the new study has, too."""
    slos: tuple[SLO, ...] = ()
    """Its bounds, which say what was expected of its metrics."""
    source: str = ""
    """What its windows' predictions came from; empty if there are none."""
    trials: tuple[EarlierTrial, ...] = ()

    @property
    def windows(self) -> int:
        """Number of measured levels."""
        return sum(len(t.windows) for t in self.trials)


class Evidence(FrozenModel):
    """Everything that a search knows from earlier studies."""

    studies: tuple[EarlierStudy, ...] = ()
    """The most closely related ones first."""


NO_EVIDENCE = Evidence()
