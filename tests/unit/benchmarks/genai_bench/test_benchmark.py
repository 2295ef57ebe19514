"""Measurements with a scripted genai-bench, which also does what the real one does not do on demand."""

from pathlib import Path
from statistics import median

import pytest

from autotuner.benchmarks.genai_bench.limits import ENDS_ONLY, overhead_notes
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.plugins.benchmark import Benchmark
from autotuner.study.workload import Concurrency
from autotuner.testing.benchmark_kit import BenchmarkConformance, fixed_scenario
from autotuner.testing.mock_openai import Behavior, Fault
from support.genai_bench import measured, scripted
from support.request_records import numbers

pytestmark = pytest.mark.anyio


class TestScripted(BenchmarkConformance):
    """The kit, with the double."""

    open_loop = False

    @pytest.fixture
    def benchmark(self, tokenizer: Path) -> Benchmark:
        return scripted(tokenizer)


async def test_records_yield_the_same_measurement(tokenizer: Path, tmp_path: Path) -> None:
    seen, server = await measured(scripted(tokenizer), tmp_path, scenario=fixed_scenario(16, 20))
    records = read_records(tmp_path / "records.parquet")
    assert summarize(records, name="records.parquet") == seen
    assert seen.value("ttft", "p50") == pytest.approx(median(t.ttft_s for t in server.log if t.sent_ns), rel=0.5)
    assert seen.distributions.keys() == {"ttft", "tpot", "e2e_latency"}
    assert seen.scalars["output_throughput"] == pytest.approx(20 * seen.scalars["request_throughput"], rel=0.4)
    assert ENDS_ONLY in seen.warnings
    assert not set(overhead_notes(16)) & set(seen.warnings)


async def test_request_count_ends_the_window(tokenizer: Path, tmp_path: Path) -> None:
    seen, _ = await measured(scripted(tokenizer), tmp_path, requests=5, duration_s=30.0)
    assert seen.requests == 5
    assert seen.window_s < 10


async def test_answers_without_usage_are_counted_by_the_tokenizer(tokenizer: Path, tmp_path: Path) -> None:
    seen, _ = await measured(scripted(tokenizer, "usage=0"), tmp_path)
    assert seen.token_source == "tokenizer"
    assert set(read_records(tmp_path / "records.parquet").columns["output_tokens"]) == {8}


async def test_overhead_of_genai_bench_is_noted(tokenizer: Path, tmp_path: Path) -> None:
    seen, _ = await measured(scripted(tokenizer), tmp_path, level=Concurrency(in_flight=5))
    assert set(overhead_notes(5)) < set(seen.warnings)


async def test_hanging_request_is_counted_and_noted(tokenizer: Path, tmp_path: Path) -> None:
    behavior = Behavior(fault=Fault.HANG, fault_when=lambda n: n == 5)
    seen, _ = await measured(scripted(tokenizer), tmp_path, behavior, request_timeout_s=1.0)
    assert seen.errors == {"timeout": 1}
    assert [1] in map(numbers, seen.warnings)


@pytest.mark.parametrize(("ignore_eos", "sent"), [(True, True), (False, None)])
async def test_backend_follows_from_the_study(
    tokenizer: Path, tmp_path: Path, ignore_eos: bool, sent: bool | None
) -> None:
    body = {"temperature": 0.7}
    _, server = await measured(scripted(tokenizer), tmp_path, ignore_eos=ignore_eos, extra_body=body)
    assert server.log[0].body.get("ignore_eos") is sent
    assert server.log[0].body["temperature"] == 0.7
