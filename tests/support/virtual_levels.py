"""A benchmark on virtual time: levels of a simulated server with slots, with request records as real ones have."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, ClassVar

from autotuner.benchmarks.measuring.level_replay import controls_of, predictions
from autotuner.benchmarks.measuring.records import RunInfo
from autotuner.benchmarks.measuring.requirements import Limits
from autotuner.benchmarks.measuring.traces.trace_part import read_part
from autotuner.benchmarks.measuring.worker_session import WorkerOutput, keep_and_summarize
from autotuner.capacity.backlog import Backlog
from autotuner.capacity.level import Bound, LevelState, Patience
from autotuner.capacity.level_kinds import level_test
from autotuner.capacity.twin.model import Twin, TwinModel
from autotuner.plugins.benchmark import Benchmark, Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.base import FrozenModel
from autotuner.study.capacity.level_test import LevelPlan
from autotuner.study.check import Check
from autotuner.study.measurement import Measurement
from autotuner.study.workload import RequestRate, TokenLengths, TraceSpeed, Workload


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
        random = Random(f"{self._server.seed} {window.records_name}")
        load = _replayed(window) if isinstance(window.level, TraceSpeed) else _poisson(window, random)
        return _measurement(window, *_level(window.test, self._rows(load, random)))

    def _rows(self, load: Iterator["Arrival"], random: Random) -> Iterator[dict[str, Any]]:
        server = self._server
        free = [0.0] * server.slots
        ends: list[float] = []
        for index, arrival in enumerate(load):
            at = arrival.at_s
            while ends and ends[0] <= at:
                heappop(ends)
            begin = max(at, heappop(free))
            end = begin + server.fixed_s + random.expovariate(1 / server.random_s)
            heappush(free, end)
            row = _row(index, at, begin, end, len(ends))
            yield {**row, "asked_input": arrival.input, "asked_output": arrival.output}
            heappush(ends, end)


@dataclass(frozen=True)
class Arrival:
    """A request that is due."""

    at_s: float
    input: int = 10
    output: int = 2


def _poisson(window: Window, random: Random) -> Iterator[Arrival]:
    assert isinstance(window.level, RequestRate)
    at = 0.0
    while True:
        at += random.expovariate(window.level.rate)
        yield Arrival(at)


def _replayed(window: Window) -> Iterator[Arrival]:
    assert isinstance(window.level, TraceSpeed)
    assert window.scenario.trace is not None
    found = read_part(window.scenario.trace)
    trace = found.trace
    for index in range(*found.inside.indices(len(trace))):
        at_s = float(trace.at_s[index]) / window.level.speed
        yield Arrival(at_s, int(trace.inputs[index]), int(trace.outputs[index]))


def _level(plan: LevelPlan, rows: Iterator[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[int]]:
    """Rows until the level is over, and the requests of each bound; as the load generator ends it."""
    bounds = [Bound(bound.slo, bound.limit, bound.allowed) for bound in plan.bounds]
    assert not any(plan.controls), "this server's latencies do not follow from its lengths"
    test = level_test(bounds, plan.certify, plan.refute, plan.dispersions, replayed=plan.replayed)
    patience = Patience(plan.requests, plan.likely, plan.checkpoint, plan.near)
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


def _measurement(window: Window, rows: list[dict[str, Any]], counts: list[int]) -> Measurement:
    """What the load generator makes of these rows."""
    span = rows[-1]["scheduled_ns"] + 1
    output = WorkerOutput(rows=rows, result={"level": {"requests": counts}})
    rate = len(rows) / span * 1e9
    info = RunInfo(window_ns=span, begin_epoch_s=1.0, asked_rate=rate, scheduled_in_window=len(rows))
    return keep_and_summarize(output, window, Limits(), info)


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


class EngineSettings(FrozenModel):
    """Times in seconds."""

    slots: int = 16
    step: float = 0.01
    per_request: float = 0.0004
    noise: float = 0.01
    """Random part of each latency."""
    seed: int = 0


class VirtualEngine(Benchmark):
    """Measures levels without a server and without waiting. Prompts take no time."""

    kind: ClassVar[str] = "engine"
    Settings = EngineSettings

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self._server = settings

    async def preflight(self, workload: Workload) -> list[Check]:
        """There is nothing to check."""
        return []

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """See :class:`Benchmark`."""
        assert window.test is not None
        return _measurement(window, *_predicted_level(window.test, self._rows(window)))

    def _rows(self, window: Window) -> Iterator[dict[str, Any]]:
        """The records of all requests, each as soon as its end is known."""
        assert isinstance(window.level, RequestRate)
        server = self._server
        random = Random(f"{server.seed} {window.records_name}")
        engine = Twin(TwinModel(server.step, server.per_request, 0.0, server.slots))
        arrived: list[tuple[float, int, int]] = []
        ends: list[float] = []
        at = 0.0
        for index in count():
            while len(arrived) <= index or engine.latencies[index] is None:
                at += random.expovariate(window.level.rate)
                arrived.append((at, _length(window.scenario.input, random), _length(window.scenario.output, random)))
                engine.arrive(*arrived[-1])
            came, inputs, outputs = arrived[index]
            in_flight = sum(end > came for end in ends[-500:])
            latency = (engine.latencies[index] or 0.0) * random.gauss(1, server.noise)
            ends.append(came + latency)
            row = _row(index, came, came, came + latency, in_flight)
            yield {**row, "asked_input": inputs, "asked_output": outputs, "output_tokens": outputs}


def _length(lengths: TokenLengths | None, random: Random) -> int:
    assert lengths is not None
    return max(1, round(random.gauss(lengths.a, lengths.b)))


def _predicted_level(plan: LevelPlan, rows: Iterator[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[int]]:
    """Rows until the level is over, and the requests of each bound; as the load generator ends it."""
    bounds = [Bound(bound.slo, bound.limit, bound.allowed) for bound in plan.bounds]
    predicted = predictions(plan, [])
    test = level_test(bounds, plan.certify, plan.refute, plan.dispersions, controls_of(plan), replayed=plan.replayed)
    patience = Patience(plan.requests, plan.likely, plan.checkpoint, plan.near)
    backlog = Backlog()
    kept: list[dict[str, Any]] = []
    fed = [0] * len(bounds)
    while not test.over(patience):
        row = next(rows)
        kept.append(row)
        at = (row["scheduled_ns"] - kept[0]["scheduled_ns"]) / 1e9
        predicted.arrive(at, row["asked_input"], row["asked_output"], counted=True)
        test.arrive(row["in_flight"])
        if backlog.arrive(row["in_flight"]):
            test.saturate()
        for index, bound in enumerate(plan.bounds):
            while fed[index] < len(kept) and (known := predicted.value(index, fed[index])) is not None:
                one = kept[fed[index]]
                latency = (one["end_ns"] - one["sent_ns"]) / 1e9
                test.feed(index, 0.0 if bound.metric == "success_rate" else latency, known)
                fed[index] += 1
                if test.over(patience):
                    break
            if test.state is LevelState.REFUTED:
                break
    return kept, [one.requests for one in test.tests]
