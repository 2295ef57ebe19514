"""Levels that replay a trace against a mock server, sent by one process and by two."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotuner.benchmarks.measuring.level_replay import decide
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.requirements import Limits
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.study.capacity.level_test import CapacityBound, LevelDecision, LevelPlan
from autotuner.study.measurement import Measurement
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import TraceSpeed
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window
from autotuner.testing.mock_openai import Behavior, Fault, mock_openai

pytestmark = pytest.mark.anyio

LAX = CapacityBound(slo="p90 ttft <= 60s", metric="ttft", limit=60.0, allowed=0.1)
STRICT = CapacityBound(slo="p90 ttft <= 1us", metric="ttft", limit=1e-6, allowed=0.1)
HALF = CapacityBound(slo="p90 e2e_latency <= 500ms", metric="e2e_latency", limit=0.5, allowed=0.1)
SUCCESS = CapacityBound(slo="success_rate >= 0.9", metric="success_rate", limit=0.0, allowed=0.1)
REQUESTS = 40
PER_SECOND = 100


async def level(folder: Path, workers: Any, behavior: Behavior, *bounds: CapacityBound, **workload: Any) -> Measurement:
    """A replay of 40 requests in 0.4 s, between others before and after them."""
    trace = folder / "trace.jsonl"
    row = {"input_tokens": 3, "output_tokens": 2}
    trace.write_text("\n".join(json.dumps({"timestamp": n / PER_SECOND, **row}) for n in range(2 * REQUESTS)))
    # A busy machine delays the load generator; that is another test's subject.
    settings = NativeSettings(drain=0.0, workers=workers, limits=Limits(lag_s=60.0, rate_share=0.0, cpu_cores=64.0))
    window = make_window(folder, TraceSpeed(), warmup_s=0.1, **workload)
    scenario = parse_scenario(f"trace:{trace} from=0.2s to=0.6s")
    test = LevelPlan(bounds=bounds, certify=0.0, refute=0.0, requests=REQUESTS, replayed=REQUESTS)
    async with mock_openai(behavior) as server:
        window = replace(window, scenario=scenario, test=test)
        found = await NativeBenchmark(settings).measure(UrlEndpoint(server.url), window)
    records = read_records(folder / str(found.records))
    assert decide(records, test, decision_of(found).requests) == decision_of(found)
    return found


def decision_of(found: Measurement) -> LevelDecision:
    assert found.decision is not None
    return found.decision


@pytest.mark.parametrize("workers", [1, 2])
async def test_it_is_certified_by_all_of_its_requests_and_no_others(tmp_path: Path, workers: int) -> None:
    found = await level(tmp_path, workers, Behavior(ttft_s=0.005), LAX, SUCCESS)
    assert (decision_of(found).state, decision_of(found).requests) == ("certified", (REQUESTS, REQUESTS))
    assert (found.arrived, found.failed) == (REQUESTS, 0)
    assert found.window_s == pytest.approx(REQUESTS / PER_SECOND)


async def test_too_many_misses_end_it_early(tmp_path: Path) -> None:
    found = await level(tmp_path, 1, Behavior(ttft_s=0.001), STRICT, SUCCESS)
    assert (decision_of(found).state, decision_of(found).decided_by) == ("refuted", 0)
    assert decision_of(found).requests[0] == 4
    assert found.arrived <= REQUESTS


@pytest.mark.parametrize("workers", [1, 2])
async def test_misses_that_are_certain_only_after_its_end_refute_it_without_an_answer(
    tmp_path: Path, workers: int
) -> None:
    found = await level(tmp_path, workers, Behavior(ttft_s=60.0), HALF, SUCCESS, request_timeout_s=1.0)
    assert (decision_of(found).state, decision_of(found).decided_by) == ("refuted", 0)
    assert decision_of(found).requests[1] < REQUESTS


async def test_answers_are_awaited_until_their_time_limit(tmp_path: Path) -> None:
    found = await level(tmp_path, 1, Behavior(ttft_s=60.0), LAX, SUCCESS, request_timeout_s=0.5)
    assert (decision_of(found).state, found.errors) == ("refuted", {"timeout": found.failed})


async def test_failures_within_the_success_rate_do_not_refute_it(tmp_path: Path) -> None:
    some = Behavior(fault=Fault.STATUS, fault_when=lambda number: number % 20 == 7)
    median = LAX.model_copy(update={"allowed": 0.5})
    found = await level(tmp_path, 1, some, median, SUCCESS)
    assert decision_of(found).state == "certified"
    assert found.failed in (1, 2, 3)
