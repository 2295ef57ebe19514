"""Levels that end with their own test, and searches for the capacity of a mock server."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest
from anyio import from_thread

from autotuner.benchmarks.capacity.question import CapacityQuestion
from autotuner.benchmarks.capacity.run import CapacityRun, Place
from autotuner.benchmarks.capacity.steps import SearchSteps
from autotuner.benchmarks.capacity.verify import level_problem
from autotuner.benchmarks.measuring.level_replay import arrivals, decide
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.requirements import Limits
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.study.capacity.level_test import CapacityBound, LevelDecision, LevelPlan, MissControl
from autotuner.study.capacity.result import CapacityLevel, CapacityResult
from autotuner.study.launch import Labels
from autotuner.study.measurement import Measurement
from autotuner.study.workload import Concurrency, LoadLevel, LoadUnit, RequestRate
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window
from autotuner.testing.mock_openai import Behavior, Fault, mock_openai
from support.virtual_levels import VirtualBenchmark, VirtualSettings

pytestmark = pytest.mark.anyio

FAST = CapacityBound(slo="p90 ttft <= 1000ms", metric="ttft", limit=1.0, allowed=0.1)
SLOW = CapacityBound(slo="p90 ttft <= 1ms", metric="ttft", limit=0.001, allowed=0.1)
LAX = CapacityBound(slo="p90 ttft <= 1000s", metric="ttft", limit=1000.0, allowed=0.1)
SUCCESS = CapacityBound(slo="success_rate >= 0.9", metric="success_rate", limit=0.0, allowed=0.1)
HUNDRED = RequestRate(rate=100.0)
CALM = RequestRate(rate=20.0)
"""So low that even on a busy machine the server is often idle, after which what happens is independent evidence."""


def plan(*bounds: CapacityBound, **more: Any) -> LevelPlan:
    return LevelPlan(**{"bounds": bounds, "certify": 0.05, "refute": 0.05, "requests": 400, **more})


# A busy machine delays the load generator; that is another test's subject.
PATIENT = NativeSettings(drain=2.0, limits=Limits(lag_s=60.0, rate_share=0.0, cpu_cores=64.0))


async def level(folder: Path, test: LevelPlan, behavior: Behavior, load: LoadLevel = HUNDRED) -> Measurement:
    async with mock_openai(behavior) as server:
        window = make_window(folder, load, duration_s=30.0, warmup_s=0.2)
        return await NativeBenchmark(PATIENT).measure(UrlEndpoint(server.url), replace(window, test=test))


def decision_of(found: Measurement) -> LevelDecision:
    assert found.decision is not None
    return found.decision


@pytest.mark.parametrize("load", [HUNDRED, Concurrency(in_flight=8)], ids=lambda load: load.kind)
async def test_a_fast_server_is_certified_before_the_requests_are_used_up(tmp_path: Path, load: LoadLevel) -> None:
    test = plan(FAST, SUCCESS, requests=2_000)
    found = decision_of(await level(tmp_path, test, Behavior(ttft_s=0.005), load))
    assert found.state == "certified"


async def test_a_slow_server_is_refuted(tmp_path: Path) -> None:
    found = await level(tmp_path, plan(FAST, SLOW, requests=2_000), Behavior())
    decision = decision_of(found)
    assert (decision.state, decision.decided_by) == ("refuted", 1)


async def virtual_level(folder: Path, test: LevelPlan, rate: float, server: VirtualSettings) -> Measurement:
    """A level without a clock: the same number of requests on any machine."""
    window = replace(make_window(folder, RequestRate(rate=rate)), test=test)
    return await VirtualBenchmark(server).measure(UrlEndpoint("http://x"), window)


async def test_a_level_takes_no_more_requests_than_it_needs(tmp_path: Path) -> None:
    fast = await virtual_level(tmp_path, plan(FAST, SUCCESS), 100.0, VirtualSettings())
    assert (decision_of(fast).state, fast.arrived < 200) == ("certified", True)
    slow = await virtual_level(tmp_path, plan(FAST, SLOW), 10.0, VirtualSettings(slots=32))
    assert (decision_of(slow).state, slow.arrived < 200) == ("refuted", True)
    saturated = await virtual_level(tmp_path, plan(LAX, requests=5_000), 160.0, VirtualSettings())
    assert (decision_of(saturated).state, saturated.arrived < 300) == ("saturated", True)


async def test_failures_break_the_success_rate_and_every_latency(tmp_path: Path) -> None:
    behavior = Behavior(fault=Fault.STATUS, fault_when=lambda number: number % 2 == 0)
    decision = decision_of(await level(tmp_path, plan(SUCCESS), behavior))
    assert decision.state == "refuted"
    assert decision_of(await level(tmp_path, plan(FAST), behavior)).state == "refuted"


async def test_a_growing_queue_ends_the_level_as_saturated(tmp_path: Path) -> None:
    found = await level(tmp_path, plan(LAX, requests=5_000), Behavior(ttft_s=0.05, slots=2), RequestRate(rate=200.0))
    assert decision_of(found).state == "saturated"


async def test_waiting_longer_than_the_limit_is_a_miss_before_the_answer(tmp_path: Path) -> None:
    strict = CapacityBound(slo="p90 e2e_latency <= 20ms", metric="e2e_latency", limit=0.02, allowed=0.1)
    found = await level(tmp_path, plan(strict), Behavior(ttft_s=1.0))
    assert decision_of(found).state == "refuted"
    assert decision_of(found).requests[0] > found.requests


@pytest.mark.parametrize("bounds", [(FAST, SUCCESS), (FAST, SLOW)], ids=["certified", "refuted"])
async def test_records_repeat_the_decision(tmp_path: Path, bounds: tuple[CapacityBound, ...]) -> None:
    test = plan(*bounds)
    found = await level(tmp_path, test, Behavior(ttft_s=0.005))
    decision = decision_of(found)
    assert decide(read_records(tmp_path / str(found.records)), test, decision.requests) == decision


@pytest.mark.parametrize(("metric", "workers"), [("e2e_latency", 1), ("e2e_latency", 2), ("tpot", 1)])
async def test_records_repeat_a_decision_beside_a_prediction(tmp_path: Path, metric: str, workers: int) -> None:
    # A prediction is known once the arrivals that can change it have come: later than the server's answer.
    model = {"step": 0.005, "per_request": 0.001, "prefill": 0.0, "slots": None, "spread": 0.02}
    control = MissControl.model_validate({**model, "latency": metric, "expected": 0.02, "error": 0.001, "settles": 10})
    lax = CapacityBound(slo=f"p90 {metric} <= 1000s", metric=metric, limit=1000.0, allowed=0.1)
    test = plan(lax, SUCCESS, controls=(control, None), requests=1_000)
    async with mock_openai(Behavior(ttft_s=0.005)) as server:
        window = make_window(tmp_path, CALM, duration_s=60.0, warmup_s=0.2)
        found = await NativeBenchmark(PATIENT.replaced(workers=workers)).measure(
            UrlEndpoint(server.url), replace(window, test=test)
        )
    decision = decision_of(found)
    assert decision.state == "certified"
    records = read_records(tmp_path / str(found.records))
    assert decide(records, test, decision.requests) == decision
    asked = [tokens + 400 for tokens in records.columns["asked_output"]]
    changed = replace(records, columns={**records.columns, "asked_output": asked})
    with pytest.raises(ValueError, match="arrivals"):
        decide(changed, test, decision.requests)


async def test_records_with_more_misses_do_not_support_a_certificate(tmp_path: Path) -> None:
    test = plan(LAX)  # which holds on a busy machine, too
    found = await level(tmp_path, test, Behavior(ttft_s=0.005))
    records = read_records(tmp_path / str(found.records))
    counted = {row["index"] for row in arrivals(records)}
    # Every second one: a run of misses counts as one event, and a short level may be a single run.
    late = [
        first + 2_000 * 10**9 if first is not None and index in counted and index % 2 else first
        for first, index in zip(records.columns["first_ns"], records.columns["index"], strict=True)
    ]
    changed = replace(records, columns={**records.columns, "first_ns": late})
    assert decision_of(found).state == "certified"
    again = decide(changed, test, decision_of(found).requests)
    assert again.state != "certified"
    assert again.log_evidence_below < 0 < again.log_evidence_above


async def search(folder: Path, behavior: Behavior, **question: Any) -> CapacityResult:
    async with mock_openai(behavior) as server:
        window = make_window(folder, HUNDRED, warmup_s=0.2)
        place = Place(Labels(study="s", trial=0, owner="o"), folder, "level")
        asked = CapacityQuestion(**{"bounds": (FAST, SUCCESS), "max_requests": 1_500, **question})
        run = CapacityRun(
            NativeBenchmark(PATIENT), UrlEndpoint(server.url), window.workload, window.scenario, asked, place
        )
        return await run.measure()


async def virtual_search(folder: Path, server: VirtualSettings, **question: Any) -> CapacityResult:
    window = make_window(folder, HUNDRED)
    place = Place(Labels(study="s", trial=0, owner="o"), folder, "level")
    asked = CapacityQuestion(**{"bounds": (FAST, SUCCESS), **question})
    benchmark = VirtualBenchmark(server)
    endpoint = UrlEndpoint("http://x")
    return await CapacityRun(benchmark, endpoint, window.workload, window.scenario, asked, place).measure()


async def test_a_level_that_ends_while_the_search_is_stopped_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(Labels(study="s", trial=0, owner="o"), tmp_path, "level")
    window = make_window(tmp_path, HUNDRED)
    question = CapacityQuestion((FAST,), start=100.0)
    benchmark = VirtualBenchmark(VirtualSettings())
    run = CapacityRun(benchmark, UrlEndpoint("http://x"), window.workload, window.scenario, question, place)
    known: list[int] = []

    async def told(_: CapacityLevel) -> None:
        await anyio.lowlevel.checkpoint()  # as storing it does
        known.append(len(run.result().levels))

    add = SearchSteps.add
    with anyio.CancelScope() as scope:

        def stopped(steps: SearchSteps, level: CapacityLevel) -> None:
            add(steps, level)
            from_thread.run_sync(scope.cancel)

        monkeypatch.setattr(SearchSteps, "add", stopped)
        await run.measure(told)
    assert scope.cancelled_caught
    assert known == [1]
    assert (tmp_path / "level-0.parquet").exists()


@pytest.mark.parametrize("seed", [0, 3])
async def test_a_search_is_not_wrong_about_a_server_with_slots(tmp_path: Path, seed: int) -> None:
    # 32 slots of 100 ms: 320 requests/s at most, and no queue to speak of below 250.
    bound = CapacityBound(slo="p95 ttft <= 200ms", metric="ttft", limit=0.2, allowed=0.05)
    server = VirtualSettings(slots=32, seed=seed)
    found = await virtual_search(tmp_path, server, bounds=(bound,), start=30.0 * 4**seed, precision=0.5)
    assert found.certified is not None
    assert found.certified < 320
    assert found.refuted is not None
    assert found.refuted > 250
    assert all(level_problem(one, tmp_path) is None for one in found.levels)


async def test_a_search_without_saturation_says_so(tmp_path: Path) -> None:
    found = await search(
        tmp_path,
        Behavior(ttft_s=0.002, itl_s=0.0),
        unit=LoadUnit.CONCURRENCY,
        start=4.0,
        low=1.0,
        high=8.0,
        max_requests=10_000,
    )
    assert found.certified == 8.0
    assert (found.refuted, found.refuted_missing) == (None, "SLO still met at the highest load")


async def test_a_search_that_meets_its_slo_nowhere_says_so(tmp_path: Path) -> None:
    found = await virtual_search(tmp_path, VirtualSettings(), bounds=(SLOW,), start=20.0, low=15.0)
    assert (found.certified, found.certified_missing) == (None, "SLO not met at the lowest load")
    assert found.refuted == pytest.approx(15.0)


async def test_a_server_that_is_too_slow_even_alone_is_said_so_without_a_lowest_load(tmp_path: Path) -> None:
    """The search need not halve its load until the budget ends: below some load, requests never meet."""
    found = await virtual_search(tmp_path, VirtualSettings(), bounds=(SLOW,), start=20.0)
    assert (found.certified, found.certified_missing) == (None, "SLO not met at the lowest load")
    assert found.requests < 1_000
    assert all(level_problem(one, tmp_path) is None for one in found.levels)


@pytest.mark.parametrize(("start", "first"), [(1.0, 3.0), (5.0, 5.0), (9.0, 7.0)])
def test_numbers_in_flight_stay_inside_a_range_with_fractions(start: float, first: float, tmp_path: Path) -> None:
    asked = CapacityQuestion(bounds=(FAST,), unit=LoadUnit.CONCURRENCY, start=start, low=2.5, high=7.5)
    level = SearchSteps(asked, tmp_path).next_level()
    assert level is not None
    assert level[0] == first
