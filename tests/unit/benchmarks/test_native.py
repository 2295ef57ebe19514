"""Measurements by the native load generator, compared with the times that a mock server records."""

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from autotuner.benchmarks.loadgen.prompt_words import WORDS
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.plugins.benchmark import Benchmark
from autotuner.study.measurement import Measurement
from autotuner.study.objective import SLO
from autotuner.study.workload import Api, Arrivals, RequestRate, Scenario, TokenLengths
from autotuner.testing.benchmark_kit import (
    BenchmarkConformance,
    UrlEndpoint,
    fixed_scenario,
    make_window,
)
from autotuner.testing.mock_openai import Behavior, Fault, MockOpenAI, Truth, mock_openai
from support.native_windows import FOUR, measured
from support.request_records import numbers

pytestmark = pytest.mark.anyio
D_100 = fixed_scenario(16, 100)
D_40 = fixed_scenario(16, 40)


class TestNativeBenchmark(BenchmarkConformance):
    """Conformance of the native benchmark."""

    @pytest.fixture
    def benchmark(self) -> Benchmark:
        return NativeBenchmark(NativeSettings())


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    """A tokenizer.json in which every word of letters is one token."""
    tokenizer = Tokenizer(WordLevel({"?": 0, **{word: n for n, word in enumerate((*WORDS, "x"), 1)}}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    file = tmp_path / "model" / "tokenizer.json"
    file.parent.mkdir()
    tokenizer.save(str(file))
    return file


def p50(measurement: Measurement, metric: str) -> float:
    value = measurement.value(metric, "p50")
    assert value is not None
    return value


async def test_late_usage_and_done_are_not_part_of_a_latency(tmp_path: Path) -> None:
    seen, server = await measured(tmp_path, Behavior(ttft_s=0.03, itl_s=0.005, tail_s=0.2), scenario=D_100)
    truth = median((t.sent_ns[-1] - t.sent_ns[0]) / 1e9 / (len(t.sent_ns) - 1) for t in whole(server, 100))
    assert p50(seen, "tpot") == pytest.approx(truth, rel=0.1)
    assert p50(seen, "e2e_latency") < 0.03 + 0.5 + 0.15
    assert seen.failed == 0


async def test_several_tokens_per_chunk_have_two_named_gaps(tmp_path: Path) -> None:
    seen, server = await measured(tmp_path, Behavior(itl_s=0.02, tokens_per_chunk=4), scenario=D_40)
    truth = median(gap / 1e9 for t in whole(server, 10) for gap in gaps(t.sent_ns))
    assert p50(seen, "itl") == pytest.approx(truth, rel=0.15)
    assert p50(seen, "itl_token") == pytest.approx(truth / 4, rel=0.15)
    assert seen.distributions["itl_token"].count == 4 * seen.distributions["itl"].count
    offered = 4 * 40 / (p50(seen, "e2e_latency"))
    assert seen.scalars["output_throughput"] == pytest.approx(offered, rel=0.2)


@pytest.mark.parametrize("kind", ["reasoning_content", "reasoning", "tool_calls"])
async def test_reasoning_and_tool_calls_contain_the_first_token(tmp_path: Path, kind: str) -> None:
    seen, server = await measured(tmp_path, Behavior(first=kind, content_after_s=0.25), duration_s=1.5)
    assert p50(seen, "ttft") < 0.15
    assert p50(seen, "e2e_latency") > 0.25
    assert p50(seen, "ttft") == pytest.approx(median(t.ttft_s for t in server.log), abs=0.02)


async def test_overload_is_not_hidden_by_a_cap(tmp_path: Path) -> None:
    behavior = Behavior(ttft_s=0.0, itl_s=0.01, slots=4)
    level = RequestRate(rate=80.0, arrivals=Arrivals.CONSTANT)
    seen, server = await measured(tmp_path, behavior, level, duration_s=2.0, scenario=fixed_scenario(16, 10))
    assert len(server.log) > 80 * 2 * 0.95, "every scheduled request is sent, however slow the server"
    assert p50(seen, "ttft_scheduled") > 0.2, "waiting in the queue is part of the latency"
    assert p50(seen, "ttft_scheduled") >= p50(seen, "ttft")
    assert not seen.steady


async def test_constant_rate(tmp_path: Path) -> None:
    level = RequestRate(rate=50.0, arrivals=Arrivals.CONSTANT)
    seen, server = await measured(tmp_path, Behavior(), level, duration_s=1.2)
    found = gaps([t.received_ns for t in server.log[5:]])
    assert median(found) / 1e9 == pytest.approx(0.02, rel=0.1)
    assert seen.self_check.achieved_rate == pytest.approx(50, rel=0.05)
    assert seen.self_check.asked_rate == 50


async def test_poisson_delivers_its_rate(tmp_path: Path) -> None:
    seen, _ = await measured(tmp_path, Behavior(), RequestRate(rate=50.0), duration_s=1.2)
    assert seen.self_check.achieved_rate == pytest.approx(50, rel=0.05)


async def test_closed_loop_keeps_its_requests_in_flight(tmp_path: Path) -> None:
    seen, server = await measured(tmp_path, Behavior(ttft_s=0.05))
    assert "ttft_scheduled" not in seen.distributions
    loads = [sum(t.received_ns <= at < t.sent_ns[-1] for t in server.log if t.sent_ns) for at in middles(server)]
    assert max(loads) <= 4
    assert median(loads) >= 3


async def test_prompts_have_the_requested_length(tmp_path: Path) -> None:
    behavior = Behavior(count_prompt=lambda text: round(len(text) / 3.7), template_tokens=20)
    seen, server = await measured(tmp_path, behavior, scenario=fixed_scenario(200, 4), prefix_tokens=100)
    counts = [round(len(t.text) / 3.7) + 20 for t in server.log[20:]]
    assert median(counts) == pytest.approx(300, rel=0.03)
    assert len({t.text for t in server.log}) == len(server.log)
    assert not [warning for warning in seen.warnings if "on average" in warning]


async def test_calibration_is_reused_by_the_next_window(tmp_path: Path) -> None:
    benchmark = NativeBenchmark(NativeSettings())
    async with mock_openai() as server:
        probes = []
        for _ in range(2):
            window = make_window(tmp_path, FOUR, scenario=D_100, duration_s=0.3)
            await benchmark.measure(UrlEndpoint(server.url), window)
            probes.append(sum(t.body["max_tokens"] == 1 for t in server.log))
    assert probes[0] == probes[1] > 0


async def test_chunks_are_counted_without_usage(tmp_path: Path) -> None:
    seen, _ = await measured(tmp_path, Behavior(usage=False))
    assert seen.token_source == "chunks"
    columns = read_records(tmp_path / "records.parquet").columns
    complete = [i for i, done in enumerate(columns["complete"]) if done]
    assert {columns["usage_output"][i] for i in complete} == {None}
    assert all(columns["output_tokens"][i] == len(columns["gaps_ns"][i]) + 1 for i in complete)


async def test_local_tokenizer_counts_if_the_server_does_not(tmp_path: Path, tokenizer_file: Path) -> None:
    behavior = Behavior(usage=False, tokens_per_chunk=4)
    seen, server = await measured(tmp_path, behavior, tokenizer=str(tokenizer_file), scenario=fixed_scenario(60, 8))
    assert seen.token_source == "tokenizer"
    columns = read_records(tmp_path / "records.parquet").columns
    whole_answers = zip(columns["complete"], columns["asked_output"], columns["output_tokens"], strict=True)
    assert {tokens for complete, asked, tokens in whole_answers if complete and asked == 8} == {8}
    assert median(len(t.text.split()) for t in server.log) == 60


async def test_warning_about_short_answers(tmp_path: Path) -> None:
    seen, _ = await measured(tmp_path, Behavior(shorter_by=4))
    assert [4, 8] in map(numbers, seen.warnings)


async def test_completions_with_crlf_line_endings(tmp_path: Path) -> None:
    seen, server = await measured(tmp_path, Behavior(newline="\r\n"), api=Api.COMPLETIONS)
    assert seen.failed == 0
    assert seen.requests > 0
    assert all("prompt" in t.body for t in server.log)


async def test_uniform_lengths_vary(tmp_path: Path) -> None:
    lengths = TokenLengths(kind="uniform", a=4, b=12)
    scenario = Scenario(text="U(4,12)/(4,12)", input=lengths, output=lengths)
    seen, server = await measured(tmp_path, Behavior(), scenario=scenario)
    assert {t.body["max_tokens"] for t in server.log} >= set(range(4, 13))
    assert seen.failed == 0


async def test_request_count_ends_the_window_early(tmp_path: Path) -> None:
    seen, _ = await measured(tmp_path, Behavior(), requests=10, duration_s=30.0)
    assert seen.requests == 10
    assert seen.window_s < 10


async def test_goodput_counts_requests_within_every_slo(tmp_path: Path) -> None:
    window = make_window(tmp_path, FOUR)
    bounds = (SLO(metric="e2e_latency", threshold=1e-6), SLO(metric="ttft", statistic="p99", threshold=9))
    async with mock_openai() as server:
        endpoint = UrlEndpoint(server.url)
        seen = await NativeBenchmark(NativeSettings()).measure(endpoint, replace(window, slos=bounds))
    assert seen.scalars["goodput"] == 0
    assert seen.scalars["request_throughput"] > 0


async def test_records_yield_the_same_measurement(tmp_path: Path) -> None:
    behavior = Behavior(fault=Fault.CUT, fault_when=lambda n: n % 4 == 3)
    seen, _ = await measured(tmp_path, behavior)
    records = read_records(tmp_path / "records.parquet")
    assert summarize(records, name="records.parquet") == seen
    assert sum(e is not None for e in records.columns["error"]) >= seen.failed > 0
    assert os.listdir(tmp_path) == ["records.parquet"]  # noqa: PTH208


def gaps(times: list[int]) -> list[int]:
    return [b - a for a, b in pairwise(times)]


def whole(server: MockOpenAI, chunks: int) -> list[Truth]:
    return [t for t in server.log if len(t.sent_ns) == chunks]


def middles(server: MockOpenAI) -> list[int]:
    times = sorted(t.received_ns for t in server.log)
    first = times[len(times) // 3]
    last = times[-len(times) // 4]
    return [first + (last - first) * i // 50 for i in range(50)]
