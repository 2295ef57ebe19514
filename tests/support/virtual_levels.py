"""A benchmark on virtual time: levels of a simulated server with slots, with request records as real ones have."""

from collections.abc import Iterator
from heapq import heappop, heappush
from random import Random
from typing import Any, ClassVar

from autotuner.benchmarks.measuring.records import RunInfo
from autotuner.benchmarks.measuring.requirements import Limits
from autotuner.benchmarks.measuring.worker_session import WorkerOutput, keep_and_summarize
from autotuner.capacity.backlog import Backlog
from autotuner.capacity.level import Bound, LevelState, LevelTest, Patience
from autotuner.plugins.benchmark import Benchmark, Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.base import FrozenModel
from autotuner.study.capacity.level_test import LevelPlan
from autotuner.study.check import Check
from autotuner.study.measurement import Measurement
from autotuner.study.workload import RequestRate, Workload


class VirtualSettings(FrozenModel):
    """A server that answers ``slots`` requests at a time, in seconds of service with an exponential part."""

    slots: int = 8
    fixed_s: float = 0.05
    random_s: float = 0.05
    seed: int = 0


class VirtualBenchmark(Benchmark):
    """Measures levels without a server and without waiting."""

    kind: ClassVar[str] = "virtual"
    Settings = VirtualSettings

    def __init__(self, settings: VirtualSettings) -> None:
        super().__init__(settings)
        self._server = settings

    async def preflight(self, workload: Workload) -> list[Check]:
        """There is nothing to check."""
        return []

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """See :class:`Benchmark`."""
        assert window.test is not None
        assert isinstance(window.level, RequestRate)
        rate = window.level.rate
        rows, counts = _level(window.test, self._rows(rate, window.records_name))
        span = rows[-1]["scheduled_ns"] + 1
        output = WorkerOutput(rows=rows, result={"level": {"requests": counts}})
        info = RunInfo(window_ns=span, begin_epoch_s=1.0, asked_rate=rate, scheduled_in_window=len(rows))
        return keep_and_summarize(output, window, Limits(), info)

    def _rows(self, rate: float, name: str) -> Iterator[dict[str, Any]]:
        server = self._server
        random = Random(f"{server.seed} {name}")
        free = [0.0] * server.slots
        ends: list[float] = []
        at = 0.0
        index = 0
        while True:
            at += random.expovariate(rate)
            while ends and ends[0] <= at:
                heappop(ends)
            begin = max(at, heappop(free))
            end = begin + server.fixed_s + random.expovariate(1 / server.random_s)
            heappush(free, end)
            yield _row(index, at, begin, end, len(ends))
            heappush(ends, end)
            index += 1


def _level(plan: LevelPlan, rows: Iterator[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[int]]:
    """Rows until the level is over, and the requests of each bound; as the load generator ends it."""
    bounds = [Bound(bound.slo, bound.limit, bound.allowed) for bound in plan.bounds]
    test = LevelTest(bounds, plan.certify, plan.refute, plan.dispersions)
    patience = Patience(plan.requests, plan.likely, plan.checkpoint)
    backlog = Backlog()
    kept = []
    while not test.over(patience):
        row = next(rows)
        kept.append(row)
        test.arrive(row["in_flight"])
        if backlog.arrive(row["in_flight"]):
            test.saturate()
        for index, bound in enumerate(plan.bounds):
            test.feed(index, 0.0 if bound.metric == "success_rate" else (row["first_ns"] - row["sent_ns"]) / 1e9)
            if test.state is LevelState.REFUTED:
                break
    return kept, [one.requests for one in test.tests]


def _row(index: int, at: float, begin: float, end: float, in_flight: int) -> dict[str, Any]:
    at_ns, begin_ns, end_ns = (round(one * 1e9) for one in (at, begin, end))
    return {
        "index": index,
        "scheduled_ns": at_ns,
        "sent_ns": at_ns,
        "lag_ns": 0,
        "end_ns": end_ns,
        "connect_ns": 0,
        "first_ns": (begin_ns + end_ns) // 2,
        "gaps_ns": [end_ns - (begin_ns + end_ns) // 2],
        "asked_input": 10,
        "asked_output": 2,
        "input_tokens": 10,
        "output_tokens": 2,
        "token_source": "usage",
        "complete": True,
        "ramp": False,
        "error": None,
        "detail": "",
        "finish": "length",
        "usage_input": 10,
        "usage_output": 2,
        "reused": False,
        "in_flight": in_flight,
    }
