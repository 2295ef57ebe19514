"""How a trial did: feasible or not, by how much, and its objective values."""

from pydantic import Field

from autotuner.study.base import Noun


class Violation(Noun):
    """One bound that was missed, at one scenario and level."""

    slo: str
    """The bound's text, or ``success_rate``."""
    where: str
    """Scenario and level, e.g. ``D(128,48) concurrency=8``."""
    value: float | None
    """Measured, in the metric's unit; None where the metric was not measured."""
    threshold: float
    """The bound, in the metric's unit."""
    relative: float = Field(ge=0)
    """(distance from the bound) / bound; 0 on the bound."""
    hard: bool = True
    """Whether missing it makes the trial infeasible; a soft SLO only adds to the penalty."""


class Verdict(Noun):
    """The score of one trial."""

    feasible: bool
    """Whether every hard SLO was met."""
    objectives: tuple[float | None, ...] = ()
    """One per objective, in the metric's unit; None where it was not measured."""
    penalty: float = Field(default=0.0, ge=0)
    """Sum of the soft SLOs' weighted relative violations; 0 when all are met."""
    total_violation: float = Field(default=0.0, ge=0)
    """Sum of the hard SLOs' relative violations; orders infeasible trials."""
    violations: tuple[Violation, ...] = ()
    """Every bound that was missed, soft ones included."""
    uncertainty: tuple[float | None, ...] = ()
    """Per objective, half-width of the value's 95% interval relative to the value, from within this trial's windows;
    None where it is not known. It leaves out what differs from launch to launch."""
    unsure: tuple[str, ...] = ()
    """Percentiles of SLOs and objectives that their samples cannot carry: ``p99 ttft of 30 requests``."""
    rankable: bool = True
    """False where a measurement may not be used to rank: client limited, too thin, or an objective unknown."""
    reasons: tuple[str, ...] = ()
    """Places that were overloaded and why the trial may not be ranked, one line each."""
