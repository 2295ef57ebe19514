"""Verdicts on trials: feasibility, violations and objective values."""

from pydantic import Field

from autotuner.study.base import FrozenModel

QUALITY = "quality"
"""Name of the bound on the quality of answers."""


class Violation(FrozenModel):
    """A bound that was violated at one scenario and level."""

    slo: str
    """The bound's text, ``success_rate``, or ``quality``."""
    where: str
    """Scenario and level, e.g. ``D(128,48) concurrency=8``."""
    value: float | None
    """Measured value in the metric's unit; None if it was not measured."""
    threshold: float
    """The bound, in the metric's unit."""
    relative: float = Field(ge=0)
    """Distance from the bound divided by the bound."""
    hard: bool = True
    """Whether the violation makes the trial infeasible; a soft one only adds to the penalty."""
    text: str = ""
    """The figures of a bound that is not an SLO on a metric."""
    doubtful: bool = False
    """Whether the load generator, which could not keep up, may have caused it."""


class Verdict(FrozenModel):
    """The score of one trial."""

    feasible: bool
    """Whether every hard SLO was met."""
    objectives: tuple[float | None, ...] = ()
    """One value per objective, in the metric's unit; None if it was not measured."""
    penalty: float = Field(default=0.0, ge=0)
    """Sum of the soft SLOs' weighted relative violations; 0 if all are met."""
    total_violation: float = Field(default=0.0, ge=0)
    """Sum of the hard SLOs' relative violations, by which infeasible trials are ordered."""
    violations: tuple[Violation, ...] = ()
    """All violated bounds, hard and soft."""
    uncertainty: tuple[float | None, ...] = ()
    """Half-width of the 95% interval relative to the value, per objective; None if unknown. It comes from this trial's
    windows and does not cover the variation between launches."""
    unsure: tuple[str, ...] = ()
    """Percentiles of SLOs and objectives whose samples are too small: ``p99 ttft of 30 requests``."""
    overloaded: tuple[str, ...] = ()
    """Scenarios and levels of overloaded windows, whose latencies do not count: ``D(128,48) concurrency=8``."""
    bounds: tuple[float | None, ...] = ()
    """Value that each unmeasured objective is known not to be better than; None if nothing is known."""
    cut: bool = False
    """Whether measuring ended early because what was measured had decided that the trial does not win."""
    rankable: bool = True
    """False if the trial must not be ranked: client-limited, insufficient data, or an unknown objective."""
    reasons: tuple[str, ...] = ()
    """Overloaded scenarios and levels, and why the trial must not be ranked, one line each."""

    @property
    def doubtful(self) -> bool:
        """Whether the load generator, which could not keep up, may have caused all that makes the trial infeasible."""
        hard = [v for v in self.violations if v.hard]
        return bool(hard) and all(v.doubtful for v in hard)

    @property
    def quality_fault(self) -> str:
        """What is wrong with the quality of its answers, if that is all that makes the trial infeasible."""
        hard = [v for v in self.violations if v.hard]
        if not hard or any(v.slo != QUALITY for v in hard):
            return ""
        return "worse answers" if hard[0].value is not None else "quality unknown"
