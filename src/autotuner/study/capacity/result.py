"""What is asked about a server's capacity under SLOs, and what was found: levels, bracket and certificate."""

from pydantic import Field

from autotuner.study.base import FrozenModel
from autotuner.study.capacity.level_test import CapacityBound, LevelDecision, LevelPlan
from autotuner.study.measurement import Measurement
from autotuner.study.workload import LoadUnit, TracePart

_ROUNDED = 1e-4
"""Relative rounding of a speed, by which the ends of a precise bracket may be further apart."""


class ReplayedTrace(FrozenModel):
    """What every level of a search over speeds replays."""

    part: TracePart
    requests: int = Field(ge=1)
    """Requests in the range, after sampling."""
    span_s: float = Field(gt=0)
    """Length of the range at the recorded speed."""
    sha256: str
    """Digest of their times, lengths and prefix blocks."""


class SearchRange(FrozenModel):
    """Where and how long a search looked. Its levels follow from this, the error rates and what each level showed."""

    method: int
    """Version of the rules by which levels are chosen."""
    start: float
    low: float
    high: float | None
    """None: without a limit."""
    max_requests: int
    required: float | None = None
    """Load that was tested first, and that had to be held."""
    trace: ReplayedTrace | None = None


class CapacityLevel(FrozenModel):
    """One level of a search."""

    load: float
    """Requests per second, in flight, or times the recorded speed."""
    plan: LevelPlan
    decision: LevelDecision
    measurement: Measurement
    sha256: str | None = None
    """Digest of the level's request records; None where none were kept."""

    @property
    def verdict(self) -> str:
        """How it came out, or why that does not count: a busy load generator may have sent less than this load."""
        return "not counted: client limited" if self.measurement.self_check.client_limited else self.decision.state


class CapacityResult(FrozenModel):
    """The capacity of one server at one scenario, as a bracket, and the levels that it rests on."""

    scenario: str
    unit: LoadUnit
    precision: float
    """Largest ratio of the bracket's ends, minus one."""
    confidence: float | None
    """None for speeds: nothing is inferred from a sample."""
    certified: float | None = None
    """Highest load at which all SLOs were shown to hold."""
    refuted: float | None = None
    """Lowest load above it at which an SLO was shown not to hold, or the server could not keep up."""
    certified_missing: str | None = None
    """Why there is no certified load."""
    refuted_missing: str | None = None
    never_met: bool = False
    """Whether an SLO is not met even at the lowest load."""
    precise: bool = False
    """Whether both ends are there and within the precision."""
    monotone: bool = True
    """Whether no load below the certified one was refuted."""
    cut: bool = False
    """Whether the search ended early, not shown to hold more than another configuration."""
    interrupted: bool = False
    """Whether it was ended from outside, by a request to stop or an error, before it had an answer or had used its
    budget."""
    pilot_requests: int = 0
    """Requests of the closed loop that the first load was taken from."""
    levels: tuple[CapacityLevel, ...] = ()
    search: SearchRange | None = None

    @property
    def latency_bound(self) -> CapacityBound | None:
        """The latency SLO that limits the load: the one that refuted most levels, else the first one."""
        bounds = self.levels[0].plan.bounds if self.levels else ()
        deciding = [one.decision.decided_by for one in self.levels]
        counts = [(-deciding.count(i), i) for i, bound in enumerate(bounds) if bound.metric != "success_rate"]
        return bounds[min(counts)[1]] if counts else None

    @property
    def requests(self) -> int:
        """Requests of the pilot and of all levels."""
        return self.pilot_requests + sum(level.measurement.arrived for level in self.levels)

    @property
    def undecided(self) -> bool:
        """Whether a replay without a verdict lies within the precision of the certified speed, which ends a search."""
        if self.unit is not LoadUnit.SPEED or self.certified is None:
            return False
        highest = self.certified * (1 + self.precision) * (1 + _ROUNDED)
        return any(one.verdict == "open" and self.certified < one.load <= highest for one in self.levels)

    @property
    def at_capacity(self) -> CapacityLevel | None:
        """The certified level."""
        found = [one for one in self.levels if one.decision.state == "certified" and one.load == self.certified]
        return found[-1] if found else None


class CapacityReport(FrozenModel):
    """What ``capacity`` found, one result per scenario; stored beside the request records as ``capacity.json``."""

    url: str
    """As given, without user, password and query."""
    slos: tuple[str, ...]
    min_success_rate: float = 0.99
    """Least share of successful requests."""
    results: tuple[CapacityResult, ...] = ()
    sha256: str | None = None
    """Digest of everything else, as JSON with sorted keys."""


class LevelCheck(FrozenModel):
    """Whether one level, or one end of the bracket, follows from the records."""

    scenario: str
    level: str
    state: str
    problem: str | None = None
    """Why it does not; None if it does."""


class Verification(FrozenModel):
    """A certificate, recomputed from its request records."""

    holds: bool
    levels: tuple[LevelCheck, ...]
