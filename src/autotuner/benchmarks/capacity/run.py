"""Capacity of one server under its SLOs: level after level on the live server, each ended by its own test."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import anyio
from anyio.to_thread import run_sync

from autotuner.benchmarks.capacity.question import CapacityQuestion, drawn_lengths
from autotuner.benchmarks.capacity.replays import replayed_trace
from autotuner.benchmarks.capacity.steps import SearchSteps
from autotuner.benchmarks.capacity.verify import digest
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.plugins.server_metrics import MetricsSource
from autotuner.study.capacity.level_test import LevelPlan
from autotuner.study.capacity.result import CapacityLevel, CapacityResult
from autotuner.study.capacity.units import load_level
from autotuner.study.launch import Labels
from autotuner.study.measurement import Measurement
from autotuner.study.workload import Concurrency, LoadUnit, Scenario, Workload

_MORE_ARRIVALS = 1.25
"""Arrivals that are scheduled per request of a level: those of the drain, and chance."""

_PILOT = 8
"""Requests in flight of the closed loop before the first level: what most servers answer within their SLOs."""
_PILOT_REQUESTS = 32
_PILOT_SHARE = 0.05
"""Part of the time budget that it may take."""


OnLevel = Callable[[CapacityLevel], Awaitable[None]]


async def _ignored(_: CapacityLevel) -> None:
    """Does nothing."""


class MeasuresWindows(Protocol):
    """What measures one window, such as a benchmark."""

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """Measures one window."""


@dataclass(frozen=True)
class Place:
    """Where the request records go, and whose they are."""

    labels: Labels
    folder: Path
    prefix: str
    """Prefix of the names of the record files."""
    headers: Mapping[str, str] | None = None
    """Additional request headers (credentials); not logged or stored."""
    server_metrics: Sequence[MetricsSource] = ()
    """Where the server's Prometheus metrics are; empty: they are not sampled."""


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
        benchmark: MeasuresWindows,
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
        self._question = replace(question, lengths=drawn_lengths(scenario))
        self._place = place
        self._steps = SearchSteps(self._question, place.folder)
        self._pilot_requests = 0
        self._ended = False

    @property
    def levels(self) -> list[CapacityLevel]:
        """The finished levels."""
        return self._steps.levels

    async def measure(self, on_level: OnLevel = _ignored) -> CapacityResult:
        """Runs the search to its end.

        Args:
            on_level: Called with each finished level, also while the search is being stopped.

        Raises:
            TrialFailedError: If the load generator itself fails; :meth:`result` still holds the finished levels.
        """
        end = monotonic() + self._question.max_duration_s
        if self._question.unit is LoadUnit.SPEED and self._scenario.trace is not None:
            self._ask(trace=await run_sync(replayed_trace, self._scenario.trace))
        elif self._question.start is None and self._question.unit is LoadUnit.RATE:
            await self._pilot()
        while (left := end - monotonic()) > 0:
            step = await run_sync(self._steps.next_level, left)  # which may simulate for seconds
            if step is None:
                break
            load, plan = step
            if self.levels and self._length_s(load) > left:
                break  # a part of a replay would prove nothing
            await self._level(load, plan, left, on_level)
        self._ended = True
        return self.result()

    async def _level(self, load: float, plan: LevelPlan, left_s: float, on_level: OnLevel) -> None:
        window = self._window(load, plan, left_s)
        before = len(self.levels)
        try:
            measured = await self._benchmark.measure(self._endpoint, window)
            level = await run_sync(_finished, window, measured, load)
            await run_sync(self._steps.add, level)
        finally:
            if len(self.levels) > before:
                with anyio.CancelScope(shield=True):
                    await on_level(self.levels[-1])
            else:  # records without a level look like those of a level removed by hand
                (window.folder / window.records_name).unlink(missing_ok=True)

    def result(self) -> CapacityResult:
        """The bracket as far as it is known, also after an interrupt."""
        found = self._steps.result(self._scenario.text, interrupted=not self._ended)
        return found.replaced(pilot_requests=self._pilot_requests)

    async def _pilot(self) -> None:
        """Finds a first load of the right size: at a low rate, the requests of a level take minutes to arrive."""
        longest = self._question.max_duration_s * _PILOT_SHARE
        window = Window(
            scenario=self._scenario,
            level=Concurrency(in_flight=_PILOT),
            workload=self._workload.replaced(
                duration_s=longest, max_duration_s=longest, requests=_PILOT_REQUESTS, min_requests=0
            ),
            labels=self._place.labels,
            folder=self._place.folder,
            records_name=f"pilot-{self._place.prefix}.parquet",
            headers=self._place.headers,
        )
        measured = await self._benchmark.measure(self._endpoint, window)
        self._pilot_requests = measured.arrived
        answered = measured.value("request_throughput", None)
        if answered:
            self._ask(start=answered)

    def _ask(self, **changed: Any) -> None:
        """Changes the question before the first level."""
        self._question = replace(self._question, **changed)
        self._steps = SearchSteps(self._question, self._place.folder)

    def _length_s(self, load: float) -> float:
        """How long a level takes at least; 0 for one that ends as soon as it is decided."""
        trace = self._question.trace
        return 0.0 if trace is None else trace.span_s / load

    def _window(self, load: float, plan: LevelPlan, left_s: float) -> Window:
        question = self._question
        workload = self._workload
        longest = max(left_s, self._length_s(load))
        if question.unit is LoadUnit.RATE:
            longest = min(left_s, plan.requests * _MORE_ARRIVALS / load + workload.warmup_s)
        return Window(
            scenario=self._scenario,
            level=load_level(question.unit, load),
            workload=workload.replaced(duration_s=longest, max_duration_s=longest, requests=None, min_requests=0),
            labels=self._place.labels,
            folder=self._place.folder,
            records_name=f"{self._place.prefix}-{len(self.levels)}.parquet",
            slos=question.slos,
            headers=self._place.headers,
            server_metrics=self._place.server_metrics,
            test=plan,
        )


def _finished(window: Window, measured: Measurement, load: float) -> CapacityLevel:
    plan = window.test
    decision = measured.decision
    if plan is None or decision is None:
        raise ValueError("the benchmark measured without testing the level")
    sha256 = digest(window.folder / window.records_name)
    return CapacityLevel(load=load, plan=plan, decision=decision, measurement=measured, sha256=sha256)
