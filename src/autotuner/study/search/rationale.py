"""Why a configuration was proposed, as it was known before its launch."""

from pydantic import Field

from autotuner.study.base import FrozenModel


class Expected(FrozenModel):
    """A prediction before the launch, in the metric's unit."""

    metric: str
    statistic: str | None = None
    of: str | None = None
    """Name of a part of the load; None: all requests."""
    scenario: str
    level: str
    median: float
    low: float
    """Lower end of the 95% interval of what the launch would measure."""
    high: float


class Reuse(FrozenModel):
    """What a launch was expected to find loaded, by the launches before it. Times in seconds."""

    trial: int
    """Number of the newest trial that loaded the same."""
    launch_s: float
    """Duration of the launch: the upper end of its one-sided 95% interval."""
    other_launch_s: float
    """Duration of the launch that was expected to improve more."""
    running: bool = False
    """Whether it changes flags of the trial's server, which still runs, so that nothing is launched."""


class Rationale(FrozenModel):
    """Why a configuration was proposed."""

    expected: tuple[Expected, ...] = ()
    """Predictions of the metrics that objectives and SLOs name."""
    feasible: float = Field(ge=0, le=1)
    """Probability that every hard SLO holds, if the server starts."""
    starts: float = Field(ge=0, le=1)
    """Probability that the server starts and can be measured."""
    improves: float = Field(ge=0, le=1)
    """Probability that it is feasible and better than the trial ``beats``, if there is one."""
    beats: int | None = None
    """Number of the best feasible trial at that time; None if there was none."""
    source: str = ""
    """Source of the predictions before any measurement; empty if there were none."""
    prior_weight: float | None = Field(default=None, ge=0, le=1)
    """Weight of these predictions, given the measurements so far; None without predictions."""
    recommended: str = ""
    """URL of the documentation that recommends the configuration, if it was chosen for that."""
    untried: tuple[str, ...] = ()
    """Parameters with a value that no trial had had, if the configuration was chosen for them, because none was
    expected to be much better than the trials so far."""
    reuse: Reuse | None = None
    """Set if another configuration was expected to improve more, but less for the time that trying it takes."""
    memory_weight: float | None = Field(default=None, ge=0, le=1)
    """Weight of what earlier studies measured, given the measurements so far; None if there are none."""
