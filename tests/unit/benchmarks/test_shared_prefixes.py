"""Windows with shared prefixes: what the server receives before and during a window, and what the records say."""

from collections import Counter
from pathlib import Path

import pytest

from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Concurrency
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window
from autotuner.testing.mock_openai import Behavior, Fault, MockOpenAI, Truth, mock_openai
from autotuner.testing.relaxed_settings import CALM_LIMITS

pytestmark = pytest.mark.anyio

SCENARIO = parse_scenario("D(32,2) prefixes=5 prefix_tokens=40 zipf=1.5")


def prefix_of(truth: Truth) -> str:
    return str(truth.body["messages"][0]["content"])


def is_probe(truth: Truth) -> bool:
    return truth.body["max_tokens"] == 1


async def measured(server: MockOpenAI, folder: Path, benchmark: NativeBenchmark, endpoint: UrlEndpoint) -> list[int]:
    window = make_window(
        folder, Concurrency(in_flight=2), scenario=SCENARIO, requests=40, warmup_s=0.05, duration_s=20.0, min_requests=0
    )
    await benchmark.measure(endpoint, window)
    columns = read_records(folder / "records.parquet").columns
    return [rank for _, rank in sorted(zip(columns["index"], columns["prefix"], strict=True))]


async def test_prefixes_are_sent_before_the_window_and_recorded(tmp_path: Path) -> None:
    async with mock_openai(Behavior(ttft_s=0.002, itl_s=0.001)) as server:
        benchmark = NativeBenchmark(NativeSettings.model_validate({"limits": CALM_LIMITS}))
        endpoint = UrlEndpoint(server.url)
        ranks = await measured(server, tmp_path, benchmark, endpoint)
        first = next(t for t in server.log if not is_probe(t)).number
        primed = [prefix_of(t) for t in server.log[:first] if is_probe(t)][-5:]
        assert len(set(primed)) == 5
        loaded = [prefix_of(t) for t in server.log if not is_probe(t)]
        assert set(loaded) <= set(primed)
        popular = Counter(loaded).most_common(1)[0][0]
        assert popular in primed[-4:], "the most popular prefix is sent last, among at most four at once"
        assert len(set(ranks)) == len(set(loaded))
        assert Counter(ranks).most_common(1)[0][0] == 0
        before = len(server.log)
        again = await measured(server, tmp_path, benchmark, endpoint)
        assert {prefix_of(t) for t in server.log[before:]} == set(primed), "the same for all windows of a server"
        assert again[:40] == ranks[:40]


async def test_a_prefix_that_fails_is_reported(tmp_path: Path) -> None:
    behavior = Behavior(ttft_s=0.002, itl_s=0.001, fault=Fault.STATUS, fault_when=lambda _: False)
    async with mock_openai(behavior) as server:
        behavior.fault_when = lambda n: "max_tokens" in server.log[n].body and server.log[n].body["max_tokens"] == 1
        benchmark = NativeBenchmark(NativeSettings.model_validate({"limits": CALM_LIMITS}))
        window = make_window(
            tmp_path, Concurrency(in_flight=1), scenario=SCENARIO, requests=2, warmup_s=0.0, min_requests=0
        )
        seen = await benchmark.measure(UrlEndpoint(server.url), window)
    assert any("0 of 5" in warning for warning in seen.warnings)
