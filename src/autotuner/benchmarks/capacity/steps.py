"""A search level by level, the same on the live server and when a certificate is verified."""

from dataclasses import replace
from math import ceil, floor, inf
from pathlib import Path
from statistics import median

from autotuner.benchmarks.capacity.question import CapacityQuestion
from autotuner.benchmarks.capacity.twin_steps import TwinSteps
from autotuner.capacity.level import LevelState
from autotuner.capacity.level_result import LevelResult, promising
from autotuner.capacity.observation import MeanValue, Observation, ShareCount
from autotuner.capacity.replay_search import REPLAY_METHOD, ReplaySearch
from autotuner.capacity.search import METHOD, CapacitySearch, Limits, Missing, Plan
from autotuner.study.capacity.level_test import LevelPlan
from autotuner.study.capacity.result import CapacityLevel, CapacityResult, SearchRange
from autotuner.study.capacity.units import LOAD_KINDS
from autotuner.study.workload import LoadUnit

_LIMITED = 3
"""Levels in a row at which the load generator was the bottleneck, after which the search ends. One of them may only
mean that another process took the processor for a moment; it says nothing about the server and is measured again."""
_ALONE = 0.2
"""Requests in flight on average below which requests hardly meet, so that an even lower load changes nothing."""
_HIGHEST = 100_000.0
"""Highest load that is tried, whatever its unit."""


class SearchSteps:
    """The levels of one search; :meth:`next_level` and :meth:`add` take turns.

    Args:
        question: What is to be found.
        folder: Where the request records of the levels are.
    """

    def __init__(self, question: CapacityQuestion, folder: Path) -> None:
        self._question = question
        self._twin = TwinSteps(question, folder)
        self._alpha = 0.0 if question.confidence is None else 1 - question.confidence
        whole = LOAD_KINDS[question.unit].whole
        high = min(question.high, _HIGHEST)
        limits = Limits(
            precision=question.precision,
            low=ceil(question.low) if whole else question.low,
            high=floor(high) if whole else high,
            max_requests=question.max_requests,
            alpha=self._alpha,
            whole=whole,
        )
        self._start = question.start or LOAD_KINDS[question.unit].first
        self._replayed = None if question.trace is None else question.trace.requests
        self._search: CapacitySearch | ReplaySearch = CapacitySearch(limits, self._start, required=question.required)
        if self._replayed is not None:
            self._search = ReplaySearch(limits, self._start, self._replayed, required=question.required)
        self._limited = 0
        self.levels: list[CapacityLevel] = []

    def next_level(self, seconds_left: float | None = None) -> tuple[float, LevelPlan] | None:
        """The next load and how it is tested; None when nothing more can be learned.

        Args:
            seconds_left: What is left of the time budget; None if that does not matter.
        """
        plan = self._next(seconds_left)
        if plan is None:
            return None
        return plan.load, LevelPlan(
            bounds=self._question.bounds,
            certify=self._alpha * plan.certify,
            refute=self._alpha * plan.refute,
            dispersions=plan.dispersions,
            controls=self._twin.controls(plan.load) if plan.patience.likely is None else (),
            requests=plan.patience.requests,
            likely=plan.patience.likely,
            near=plan.patience.near,
            checkpoint=plan.patience.checkpoint,
            replayed=self._replayed,
            seconds_left=seconds_left,
        )

    def _next(self, seconds_left: float | None) -> Plan | None:
        if isinstance(self._search, ReplaySearch):
            return self._search.next_level()  # the caller knows how long a replay takes
        self._twin.prepare(self._search)
        if seconds_left is None or not self._search.results:
            return self._search.next_level()
        # Requests arrive, or are answered by a server with so many in flight, about in proportion to the load.
        paces = [level.measurement.arrived / level.measurement.window_s / level.load for level in self.levels]
        return self._search.next_level(int(seconds_left * median(paces) * self._search.capacity_estimate().median))

    def add(self, level: CapacityLevel) -> None:
        """Records a level."""
        self.levels.append(level)
        if level.measurement.self_check.client_limited:
            self._limited += 1
            self._search.client_limited = self._limited >= _LIMITED
            if isinstance(self._search, ReplaySearch):
                self._search.uncounted += level.measurement.arrived
        else:
            self._limited = 0
            result = _result(level)
            self._search.add(result)
            if level.measurement.records is not None:
                self._twin.add(level.measurement.records)
            if not promising(result) and self._question.unit is LoadUnit.RATE and _in_flight(level) < _ALONE:
                self._search.limits = replace(self._search.limits, low=max(level.load, self._search.limits.low))

    def result(self, scenario: str, *, interrupted: bool) -> CapacityResult:
        """The bracket as far as it is known; ``interrupted``: the search has not ended by itself."""
        question = self._question
        search = self._search
        low, high = (_unless(end, interrupted=interrupted) for end in search.missing())
        return CapacityResult(
            scenario=scenario,
            unit=question.unit,
            precision=question.precision,
            confidence=question.confidence,
            certified=search.certified,
            refuted=search.refuted,
            certified_missing=low.value if low else None,
            refuted_missing=high.value if high else None,
            never_met=low is Missing.NEVER_MET,
            cut=search.cut,
            precise=search.precise,
            monotone=search.monotone,
            interrupted=interrupted,
            levels=tuple(self.levels),
            search=SearchRange(
                method=method_of(question.unit),
                start=self._start,
                required=question.required,
                low=question.low,
                high=None if question.high == float("inf") else question.high,
                max_requests=question.max_requests,
                trace=question.trace,
            ),
        )


def method_of(unit: LoadUnit) -> int:
    """Version of the rules by which loads of this unit are chosen."""
    return REPLAY_METHOD if unit is LoadUnit.SPEED else METHOD


def _unless(end: Missing | None, *, interrupted: bool) -> Missing | None:
    """Why an end is missing: a search that was interrupted has not used its budget."""
    return Missing.INTERRUPTED if interrupted and end is Missing.BUDGET else end


def _in_flight(level: CapacityLevel) -> float:
    """Mean number of requests in flight (Little's law); infinite if it is not known."""
    latency = level.measurement.value("e2e_latency", "p50")
    return inf if latency is None else level.load * latency


def _result(level: CapacityLevel) -> LevelResult:
    decision = level.decision
    bounds = zip(level.plan.bounds, decision.figures, strict=True)
    observations: list[Observation] = []
    for bound, shown in bounds:
        if bound.allowed is None:
            observations.append(MeanValue(level.load, shown.independent, shown.distance or 0.0))
        else:
            observations.append(ShareCount(level.load, shown.independent, shown.misses or 0.0, bound.allowed))
    return LevelResult(
        load=level.load,
        state=LevelState(decision.state),
        requests=level.measurement.arrived,
        observations=tuple(observations),
        leaning=decision.log_evidence_below - decision.log_evidence_above,
        below=decision.log_evidence_below,
        above=decision.log_evidence_above,
    )
