"""The native load generator against a server that knows the truth: traps, failures, loops, secrets."""

import os
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import orjson
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from autotuner.benchmarks.loadgen.prompt_words import WORDS
from autotuner.benchmarks.measure_url import bench
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.errors import UsageError
from autotuner.net.target import Target
from autotuner.plugins.benchmark import Benchmark
from autotuner.secrets import HIDDEN
from autotuner.study.check import CheckStatus
from autotuner.study.failure import TrialFailedError
from autotuner.study.measurement import Measurement
from autotuner.study.objective import SLO
from autotuner.study.workload import Api, Arrivals, Concurrency, LoadLevel, RequestRate, Scenario, TokenLengths
from autotuner.testing.benchmark_kit import (
    BenchmarkConformance,
    ChildRunner,
    UrlEndpoint,
    fixed_scenario,
    make_window,
)
from autotuner.testing.mock_openai import Behavior, Fault, MockOpenAI, Truth, mock_openai

pytestmark = pytest.mark.anyio
FOUR = Concurrency(in_flight=4)


class TestNativeBenchmark(BenchmarkConformance):
    """The kit."""

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


async def measured(
    folder: Path, behavior: Behavior, level: LoadLevel = FOUR, **more: object
) -> tuple[Measurement, MockOpenAI]:
    settings = NativeSettings(drain=more.pop("drain_s", 3.0))  # type: ignore[arg-type]
    async with mock_openai(behavior) as server:
        window = make_window(folder, level, **more)  # type: ignore[arg-type]
        return await NativeBenchmark(settings).measure(UrlEndpoint(server.url), window), server


def p50(measurement: Measurement, metric: str) -> float:
    value = measurement.value(metric, "p50")
    assert value is not None
    return value


# the traps


async def test_late_usage_and_done_belong_to_no_latency(tmp_path: Path) -> None:
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


async def test_an_error_event_in_a_200_stream_is_a_failure(tmp_path: Path) -> None:
    behavior = Behavior(fault=Fault.ERROR_EVENT, fault_when=lambda n: n % 2 == 1)
    seen, _ = await measured(tmp_path, behavior)
    assert seen.errors == {"stream_error": seen.failed}
    assert 0 < seen.failed < seen.requests
    assert any("out of memory" in message for message in seen.error_messages.values())


@pytest.mark.parametrize("kind", ["reasoning_content", "reasoning", "tool_calls"])
async def test_what_comes_before_content_is_the_first_token(tmp_path: Path, kind: str) -> None:
    seen, server = await measured(tmp_path, Behavior(first=kind, content_after_s=0.25), duration_s=1.5)
    assert p50(seen, "ttft") < 0.15
    assert p50(seen, "e2e_latency") > 0.25
    assert p50(seen, "ttft") == pytest.approx(median(t.ttft_s for t in server.log), abs=0.02)


async def test_overload_is_not_hidden_by_a_cap(tmp_path: Path) -> None:
    behavior = Behavior(ttft_s=0.0, itl_s=0.01, slots=4)
    level = RequestRate(rate=80.0, arrivals=Arrivals.CONSTANT)
    seen, server = await measured(tmp_path, behavior, level, duration_s=2.0, scenario=fixed_scenario(16, 10))
    assert len(server.log) > 80 * 2 * 0.95, "every scheduled request is sent, however slow the answers are"
    assert p50(seen, "ttft_scheduled") > 0.2, "the queue's wait is part of the latency"
    assert p50(seen, "ttft_scheduled") >= p50(seen, "ttft")
    assert not seen.steady


async def test_a_constant_rate_is_constant(tmp_path: Path) -> None:
    level = RequestRate(rate=50.0, arrivals=Arrivals.CONSTANT)
    seen, server = await measured(tmp_path, Behavior(), level, duration_s=1.2)
    found = gaps([t.received_ns for t in server.log[5:]])
    assert median(found) / 1e9 == pytest.approx(0.02, rel=0.1)
    assert seen.self_check.achieved_rate == pytest.approx(50, rel=0.05)
    assert seen.self_check.asked_rate == 50


async def test_poisson_delivers_its_rate(tmp_path: Path) -> None:
    seen, _ = await measured(tmp_path, Behavior(), RequestRate(rate=50.0), duration_s=1.2)
    assert seen.self_check.achieved_rate == pytest.approx(50, rel=0.05)


async def test_a_closed_loop_keeps_its_number_in_flight(tmp_path: Path) -> None:
    seen, server = await measured(tmp_path, Behavior(ttft_s=0.05))
    assert "ttft_scheduled" not in seen.distributions
    loads = [sum(t.received_ns <= at < t.sent_ns[-1] for t in server.log if t.sent_ns) for at in middles(server)]
    assert max(loads) <= 4
    assert median(loads) >= 3


# failures


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.STATUS, "http_503"),
        (Fault.CUT, "cut_stream"),
        (Fault.TRUNCATED, "cut_stream"),
        (Fault.EMPTY, "empty"),
        (Fault.NO_ANSWER, "cut_stream"),
        (Fault.GARBAGE, "bad_response"),
        (Fault.BAD_JSON, "stream_error"),
    ],
)
async def test_each_failure_has_its_name_and_is_counted(tmp_path: Path, fault: Fault, kind: str) -> None:
    behavior = Behavior(fault=fault, fault_status=503, fault_when=lambda n: n % 3 == 2)
    seen, _ = await measured(tmp_path, behavior, duration_s=0.8)
    assert set(seen.errors) == {kind}
    assert seen.scalars["success_rate"] == pytest.approx(1 - seen.failed / seen.requests)
    assert 0 < seen.failed < seen.requests


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.STALL])
async def test_what_hangs_times_out(tmp_path: Path, fault: Fault) -> None:
    behavior = Behavior(fault=fault, fault_when=lambda n: n % 5 == 4)
    seen, _ = await measured(tmp_path, behavior, request_timeout_s=0.3, duration_s=0.8)
    assert set(seen.errors) == {"timeout"}
    assert seen.failed < seen.requests


async def test_a_request_that_outlives_everything_does_not_vanish(tmp_path: Path) -> None:
    behavior = Behavior(fault=Fault.HANG, fault_when=lambda n: n == 12)
    seen, _ = await measured(tmp_path, behavior, request_timeout_s=100.0, duration_s=0.6, drain_s=0.3)
    assert seen.errors == {"timeout": 1}


async def test_a_refused_connection_is_counted(tmp_path: Path) -> None:
    async with mock_openai() as server:
        url = server.url
    seen = await NativeBenchmark(NativeSettings()).measure(UrlEndpoint(url), make_window(tmp_path, FOUR))
    assert seen.errors == {"connect": seen.requests}
    assert seen.requests < 4 * 1.5 / 0.1 + 8, "a dead server is not hammered"


async def test_a_server_that_closes_after_each_answer_is_served_by_new_connections(tmp_path: Path) -> None:
    seen, server = await measured(tmp_path, Behavior(keep_alive=False))
    assert seen.failed == 0
    assert server.connections >= seen.requests


# lengths and tokens


async def test_prompts_have_the_asked_length(tmp_path: Path) -> None:
    behavior = Behavior(count_prompt=lambda text: round(len(text) / 3.7), template_tokens=20)
    seen, server = await measured(tmp_path, behavior, scenario=fixed_scenario(200, 4), prefix_tokens=100)
    counts = [round(len(t.text) / 3.7) + 20 for t in server.log[20:]]
    assert median(counts) == pytest.approx(300, rel=0.03)
    assert len({t.text for t in server.log}) == len(server.log)
    assert not seen.warnings


async def test_a_calibration_is_kept_for_the_next_window(tmp_path: Path) -> None:
    benchmark = NativeBenchmark(NativeSettings())
    async with mock_openai() as server:
        probes = []
        for _ in range(2):
            window = make_window(tmp_path, FOUR, scenario=D_100, duration_s=0.3)
            await benchmark.measure(UrlEndpoint(server.url), window)
            probes.append(sum(t.body["max_tokens"] == 1 for t in server.log))
    assert probes[0] == probes[1] > 0


async def test_without_usage_chunks_are_counted_and_it_says_so(tmp_path: Path) -> None:
    seen, _ = await measured(tmp_path, Behavior(usage=False))
    assert seen.token_source == "chunks"
    assert any("no usage" in w for w in seen.warnings)


async def test_a_local_tokenizer_counts_where_the_server_does_not(tmp_path: Path, tokenizer_file: Path) -> None:
    behavior = Behavior(usage=False, tokens_per_chunk=4)
    seen, server = await measured(tmp_path, behavior, tokenizer=str(tokenizer_file), scenario=fixed_scenario(60, 8))
    assert seen.token_source == "tokenizer"
    columns = read_records(tmp_path / "records.parquet").columns
    whole_answers = zip(columns["complete"], columns["asked_output"], columns["output_tokens"], strict=True)
    assert {tokens for complete, asked, tokens in whole_answers if complete and asked == 8} == {8}
    assert median(len(t.text.split()) for t in server.log) == 60


async def test_short_answers_are_warned_of(tmp_path: Path) -> None:
    seen, _ = await measured(tmp_path, Behavior(shorter_by=4))
    assert any("answers had 4 tokens" in w for w in seen.warnings)


async def test_completions_and_odd_line_ends(tmp_path: Path) -> None:
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


# the window


async def test_the_request_count_ends_the_window_early(tmp_path: Path) -> None:
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


async def test_the_records_sum_up_to_the_same_measurement(tmp_path: Path) -> None:
    behavior = Behavior(fault=Fault.CUT, fault_when=lambda n: n % 4 == 3)
    seen, _ = await measured(tmp_path, behavior)
    records = read_records(tmp_path / "records.parquet")
    assert summarize(records, name="records.parquet") == seen
    assert sum(e is not None for e in records.columns["error"]) >= seen.failed > 0
    assert os.listdir(tmp_path) == ["records.parquet"]  # noqa: PTH208


# the load generator itself


async def test_a_blocked_client_says_that_it_is_the_bottleneck(tmp_path: Path) -> None:
    seen = await measure_with(BLOCKED, tmp_path)
    assert seen.self_check.client_limited
    assert any("lag" in reason for reason in seen.self_check.reasons)


async def test_a_client_that_keeps_up_is_not_limited_by_its_own_rate(tmp_path: Path) -> None:
    seen, _ = await measured(tmp_path, Behavior())
    assert seen.self_check.client_cpu_cores < 0.9
    assert not any("sent" in r or "core" in r for r in seen.self_check.reasons)


async def test_a_secret_header_reaches_the_server_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret-1234")
    runner = ChildRunner()
    behavior = Behavior(fault=Fault.STATUS, fault_status=401, echo_headers=True, fault_when=lambda n: n % 2 == 1)
    async with mock_openai(behavior) as server:
        benchmark = NativeBenchmark(NativeSettings(api_key_env="MY_KEY"))
        window = make_window(tmp_path, FOUR, headers={"X-Long": "y" * 110, "X-Other": "another-secret"})
        seen = await benchmark.measure(UrlEndpoint(server.url, client=runner), window)
        assert server.log[0].headers["authorization"] == "Bearer sk-very-secret-1234"
        assert server.log[0].headers["x-other"] == "another-secret"
    assert seen.errors == {"http_401": seen.failed}
    said = b"".join(runner.said) + runner.stderr + seen.model_dump_json().encode()
    said += orjson.dumps(read_records(tmp_path / "records.parquet").columns)
    assert HIDDEN.encode() in said, "the server echoed the headers, so something was to be hidden"
    assert b"sk-very-secret" not in said
    assert b"another-secret" not in said
    assert "sk-very-secret" not in repr(benchmark.settings)


async def test_a_missing_key_is_found_before_the_first_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    benchmark = NativeBenchmark(NativeSettings(api_key_env="MY_KEY"))
    window = make_window(tmp_path, FOUR)
    checks = await benchmark.preflight(window.workload)
    assert [c.status for c in checks] == [CheckStatus.FAIL]
    assert "MY_KEY" in checks[0].remedy
    with pytest.raises(UsageError, match="MY_KEY"):
        await benchmark.measure(UrlEndpoint("http://127.0.0.1:1"), window)


async def test_a_worker_that_dies_is_a_failed_benchmark(tmp_path: Path) -> None:
    with pytest.raises(TrialFailedError, match="exit code"):
        await measure_with("raise SystemExit(3)", tmp_path)


async def test_foreign_cpu_is_unknown_without_the_servers_pids_and_small_here(tmp_path: Path) -> None:
    class Known(UrlEndpoint):
        def pids(self) -> frozenset[int]:
            return frozenset({os.getpid()})

    async with mock_openai() as server:
        benchmark = NativeBenchmark(NativeSettings())
        window = make_window(tmp_path, FOUR)
        unknown = await benchmark.measure(UrlEndpoint(server.url), window)
        known = await benchmark.measure(Known(server.url), window)
    assert unknown.self_check.foreign_cpu_cores is None
    assert known.self_check.foreign_cpu_cores is not None


async def test_bench_measures_every_scenario_at_every_level(tmp_path: Path) -> None:
    workload = make_window(tmp_path, FOUR, duration_s=0.3).workload.model_copy(
        update={"levels": (FOUR, RequestRate(rate=20.0)), "scenarios": (fixed_scenario(), fixed_scenario(8, 4))}
    )
    told: list[str] = []
    async with mock_openai() as server:
        found = await bench(
            Target(server.url),
            "mock",
            workload,
            client=ChildRunner(),
            folder=tmp_path,
            on_progress=lambda scenario, level, _: told.append(f"{scenario.text} {level.text}"),
        )
    assert [(m.scenario, m.level) for m in found] == [
        (s.text, level) for s in workload.scenarios for level in workload.levels
    ]
    assert len(set(told)) == 4
    assert len({m.records for m in found}) == 4


# helpers

D_100 = fixed_scenario(16, 100)
D_40 = fixed_scenario(16, 40)


def gaps(times: list[int]) -> list[int]:
    return [b - a for a, b in pairwise(times)]


def whole(server: MockOpenAI, chunks: int) -> list[Truth]:
    return [t for t in server.log if len(t.sent_ns) == chunks]


def middles(server: MockOpenAI) -> list[int]:
    times = sorted(t.received_ns for t in server.log)
    first = times[len(times) // 3]
    last = times[-len(times) // 4]
    return [first + (last - first) * i // 50 for i in range(50)]


async def measure_with(code: str, folder: Path) -> Measurement:
    """Measures with a worker that runs this code instead."""
    async with mock_openai() as server:
        runner = ChildRunner(argv=(sys.executable, "-c", code))
        benchmark = NativeBenchmark(NativeSettings())
        return await benchmark.measure(UrlEndpoint(server.url, client=runner), make_window(folder, FOUR))


BLOCKED = """
import asyncio, time
from autotuner.benchmarks.loadgen import window, worker

sample_lag = window.Window._sample_lag

async def blocked(self):
    lag = asyncio.ensure_future(sample_lag(self))
    while True:
        time.sleep(0.1)
        await asyncio.sleep(0.01)

window.Window._sample_lag = blocked
raise SystemExit(worker.main())
"""
