"""Capacity of one server under its SLOs: level after level on the live server, each ended by its own test."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from anyio.to_thread import run_sync

from autotuner.benchmarks.capacity.replay import holds, replay
from autotuner.benchmarks.measuring.records import read_records
from autotuner.capacity.level import LevelState
from autotuner.capacity.observation import Observation
from autotuner.capacity.search import CapacitySearch, LevelResult, Limits, Plan
from autotuner.plugins.benchmark import Benchmark, Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.capacity.level_test import CapacityBound, LevelPlan
from autotuner.study.capacity.result import CapacityLevel, CapacityResult, LoadUnit, load_level
from autotuner.study.launch import Labels
from autotuner.study.measurement import Measurement
from autotuner.study.objective import SLO
from autotuner.study.workload import Scenario, Workload

_MORE_ARRIVALS = 1.25
"""Arrivals that are scheduled per request of a level: those of the drain, and chance."""
_LIMITED = 3
"""Levels in a row at which the load generator was the bottleneck, after which the search ends. One of them may only
mean that another process took the processor for a moment; it says nothing about the server and is measured again."""


@dataclass(frozen=True)
class CapacityQuestion:
    """What is to be found. Loads in requests per second, or in flight."""

    bounds: tuple[CapacityBound, ...]
    slos: Sequence[SLO] = ()
    unit: LoadUnit = LoadUnit.RATE
    precision: float = 0.1
    confidence: float = 0.95
    start: float = 1.0
    low: float = 0.0
    high: float = float("inf")
    max_requests: int = 20_000
    max_duration_s: float = 1_800.0


@dataclass(frozen=True)
class Place:
    """Where the request records go, and whose they are."""

    labels: Labels
    folder: Path
    prefix: str
    """Begin of the names of the record files."""
    headers: Mapping[str, str] | None = None
    """Additional request headers (credentials); not logged or stored."""


class CapacityRun:
    """Measures the capacity of one server at one scenario.

    Args:
        benchmark: A benchmark that ends a window with the test of its level.
        endpoint: The server.
        workload: The load; its levels and durations do not apply.
        scenario: What is sent.
        question: What is to be found.
        place: Where the request records go, and whose they are.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        endpoint: Endpoint,
        workload: Workload,
        scenario: Scenario,
        question: CapacityQuestion,
        place: Place,
    ) -> None:
        self._benchmark = benchmark
        self._endpoint = endpoint
        self._workload = workload
        self._scenario = scenario
        self._question = question
        self._place = place
        limits = Limits(
            precision=question.precision,
            low=question.low,
            high=question.high,
            max_requests=question.max_requests,
            whole=question.unit is LoadUnit.CONCURRENCY,
        )
        self._search = CapacitySearch(limits, start=question.start)
        self.levels: list[CapacityLevel] = []

    async def measure(self, on_level: Callable[[CapacityLevel], None] = lambda _: None) -> CapacityResult:
        """Runs the search to its end.

        Args:
            on_level: Called with each finished level.

        Raises:
            TrialFailedError: If the load generator itself fails; :meth:`result` still holds the finished levels.
        """
        end = monotonic() + self._question.max_duration_s
        limited = 0
        while (plan := self._search.next_level()) is not None and (left := end - monotonic()) > 0:
            window = self._window(plan, left)
            measured = await self._benchmark.measure(self._endpoint, window)
            level, observations = await run_sync(_level, window, measured, plan.load)
            self.levels.append(level)
            if measured.self_check.client_limited:
                limited += 1
                self._search.client_limited = limited >= _LIMITED
            else:
                limited = 0
                self._search.add(_result(level, observations))
            on_level(level)
        return self.result()

    def result(self) -> CapacityResult:
        """The bracket as far as it is known, also after an interrupt."""
        search = self._search
        low, high = search.missing()
        return CapacityResult(
            scenario=self._scenario.text,
            unit=self._question.unit,
            precision=self._question.precision,
            confidence=self._question.confidence,
            certified=search.certified,
            refuted=search.refuted,
            certified_missing=low.value if low else None,
            refuted_missing=high.value if high else None,
            precise=search.precise,
            monotone=search.monotone,
            levels=tuple(self.levels),
        )

    def _window(self, plan: Plan, left_s: float) -> Window:
        question = self._question
        workload = self._workload
        longest = left_s
        if question.unit is LoadUnit.RATE:
            longest = min(left_s, plan.patience.requests * _MORE_ARRIVALS / plan.load + workload.warmup_s)
        alpha = 1 - question.confidence
        return Window(
            scenario=self._scenario,
            level=load_level(question.unit, plan.load),
            workload=workload.replaced(duration_s=longest, max_duration_s=longest, requests=None, min_requests=0),
            labels=self._place.labels,
            folder=self._place.folder,
            records_name=f"{self._place.prefix}-{len(self.levels)}.parquet",
            slos=question.slos,
            headers=self._place.headers,
            test=LevelPlan(
                bounds=question.bounds,
                certify=alpha * plan.certify,
                refute=alpha * plan.refute,
                dispersions=plan.dispersions,
                requests=plan.patience.requests,
                likely=plan.patience.likely,
                checkpoint=plan.patience.checkpoint,
            ),
        )


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _level(window: Window, measured: Measurement, load: float) -> tuple[CapacityLevel, tuple[Observation, ...]]:
    """The level, and what the curve needs of it, from the records that were kept."""
    plan = window.test
    decision = measured.decision
    if plan is None or decision is None:
        raise ValueError("the benchmark measured without testing the level")
    path = window.folder / window.records_name
    test = replay(read_records(path), plan, decision)
    level = CapacityLevel(load=load, plan=plan, decision=decision, measurement=measured, sha256=digest(path))
    return level, test.observations(load)


def _result(level: CapacityLevel, observations: tuple[Observation, ...]) -> LevelResult:
    decision = level.decision
    return LevelResult(
        load=level.load,
        state=LevelState(decision.state),
        requests=level.measurement.arrived,
        observations=observations,
        leaning=decision.log_evidence_below - decision.log_evidence_above,
    )


def verify_level(level: CapacityLevel, folder: Path) -> str | None:
    """Why a level's decision does not hold by its records, or None if it does."""
    name = level.measurement.records
    if name is None or level.sha256 is None:
        return "its request records were not kept"
    path = folder / name
    try:
        if digest(path) != level.sha256:
            return f"{name} was changed after the measurement"
        test = replay(read_records(path), level.plan, level.decision)
    except (OSError, ValueError) as error:
        return f"cannot read {name}: {error}"
    if not holds(test, level.decision):
        return f"the requests in {name} do not support {level.decision.state}"
    return None
