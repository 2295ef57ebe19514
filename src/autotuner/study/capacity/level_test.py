"""Sequential test of one load level: what it is tested for, and how the test came out."""

from typing import Literal

from pydantic import Field

from autotuner.study.base import FrozenModel


class CapacityBound(FrozenModel):
    """One hard SLO, as a share of requests that may exceed a limit, or as the limit of a mean."""

    slo: str
    """The SLO's text."""
    metric: str
    limit: float
    """In the metric's unit; of ``success_rate``, not used."""
    allowed: float | None = Field(default=None, gt=0, lt=1)
    """Share of requests that may exceed the limit; None for a mean."""

    @property
    def statistic(self) -> str:
        """What the limit is compared with: ``p99``, or ``mean``."""
        return "mean" if self.allowed is None else f"p{100 - self.allowed * 100:.4g}"


class MissControl(FrozenModel):
    """Prediction of one bound's misses from arrivals and lengths; see ``autotuner/capacity/twin``."""

    step: float
    """Seconds per token of a request that runs alone."""
    per_request: float
    """Seconds that each running request adds."""
    prefill: float
    """Seconds per input token."""
    slots: int | None
    """Requests that may run at once; None: without a limit."""
    latency: Literal["ttft", "tpot", "e2e_latency"]
    """What the bound is on."""
    spread: float
    """Standard deviation of a latency around its prediction, in seconds."""
    expected: float
    """Share of misses that it expects of this load."""
    error: float
    """Standard error of ``expected``."""
    settles: int
    """Requests of the level that are not bet on."""


class LevelPlan(FrozenModel):
    """How one level is tested."""

    bounds: tuple[CapacityBound, ...] = Field(min_length=1)
    certify: float = Field(ge=0, lt=1)
    """Largest chance that a level outside of the bounds is certified; 0 for a replay, which counts all its requests."""
    refute: float = Field(ge=0, lt=1)
    """Largest chance that a level within the bounds is refuted."""
    dispersions: tuple[float, ...] = ()
    """Least dispersion of each bound's misses, from other levels."""
    controls: tuple[MissControl | None, ...] = ()
    """Predictions of each bound's misses; None for a bound that is tested without."""
    requests: int = Field(ge=1)
    """Requests at most, the warm-up not counted."""
    likely: float | None = None
    """Log evidence at which an exploring level ends; None if the level is there to be decided."""
    near: bool = False
    """Whether an exploring level is close enough to the capacity for its refutation to be of use."""
    checkpoint: int = 3_000
    replayed: int | None = Field(default=None, ge=1)
    """Requests of the replay that the level consists of; None for a load without an end."""
    seconds_left: float | None = None
    """What was left of the time budget when the level was chosen. Levels are shorter, and further below the capacity,
    where it allows for fewer requests than the budget of requests."""


class BoundFigures(FrozenModel):
    """What a level showed of one bound, from which the search fits its curve."""

    independent: float = Field(ge=0)
    """Independent requests: those of the level, divided by their dispersion."""
    misses: float | None = None
    """Independent requests over the limit; None for a mean."""
    distance: float | None = None
    """Mean minus limit, in standard deviations of the values; None for a share."""


class LevelDecision(FrozenModel):
    """How the test of one level came out."""

    state: Literal["open", "certified", "refuted", "saturated"]
    decided_by: int | None = None
    """Index of the bound that refuted the level."""
    requests: tuple[int, ...]
    """Requests that each bound's evidence rests on, in the order of arrival."""
    memory: float = 1.0
    log_evidence_below: float
    """Natural logarithm of the evidence that all bounds hold; that of the weakest bound."""
    log_evidence_above: float
    """The same for the evidence that a bound does not hold; that of the strongest."""
    figures: tuple[BoundFigures, ...] = ()
    """One per bound."""
