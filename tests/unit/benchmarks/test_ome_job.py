"""ome_job without a cluster: evaluation of genai-bench's result files, and refusals."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.benchmarks.genai_bench.limits import overhead_notes
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.ome_job import MODEL, UNBOUNDED, OmeJob, OmeJobSettings
from autotuner.errors import UsageError
from autotuner.plugins.benchmark import Progress, Window
from autotuner.plugins.deployer import Endpoint, PlatformBenchmark, PlatformRun
from autotuner.study.check import Check, CheckStatus
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.measurement import Measurement
from autotuner.study.objective import SLO, Objective
from autotuner.study.spec import EngineSpec, Model, PluginSpec, StudySpec
from autotuner.study.workload import Api, Concurrency, LoadLevel, RequestRate, Scenario, TokenLengths
from autotuner.testing.benchmark_kit import UrlEndpoint, fixed_scenario, make_window
from autotuner.testing.fake_deployer import FakeDeployer
from support.request_records import numbers

pytestmark = pytest.mark.anyio
SCENARIO = fixed_scenario(20, 10)
TWO = Concurrency(in_flight=2)
NAME = "D20_10_text-to-text_num_concurrency_2_time_12s.json"
METADATA = "experiment_metadata.json"
SETTINGS = OmeJobSettings(claim="results", image="genai-bench:1")


def requests(count: int = 10, tokens: int = 10) -> list[dict[str, Any]]:
    """Metrics of requests; request ``n`` has its first token after ``n + 1`` tenths of a second."""
    return [
        {
            "ttft": 0.1 * (n + 1),
            "e2e_latency": 0.1 * (n + 1) + 0.9,
            "num_input_tokens": 21,
            "num_output_tokens": tokens,
            "error_code": None,
            "error_message": None,
        }
        for n in range(count)
    ]


def result_file(
    good: list[dict[str, Any]] | None = None, errors: Mapping[str, int] | None = None, **changes: Any
) -> Any:
    """A result file of genai-bench with wrong averages and a wrong error rate; keywords change its totals."""
    good = requests() if good is None else good
    errors = errors or {}
    failed = sum(errors.values())
    totals = {
        "scenario": SCENARIO.text,
        "num_concurrency": 2,
        "run_duration": 12.5,
        "num_requests": len(good) + failed,
        "num_completed_requests": len(good),
        "num_error_requests": failed,
        "error_codes_frequency": dict(errors),
        "error_rate": 0.0,
        "requests_per_second": 777.0,
        "stats": {"ttft": {"p50": 777.0}},
    }
    return {"aggregated_metrics": totals | changes, "individual_request_metrics": good}


def files(result: Any = None, **more: bytes) -> dict[str, bytes]:
    """The files of one run."""
    metadata = json.dumps({"benchmark_version": "0.1.113"}).encode()
    return {METADATA: metadata, NAME: json.dumps(result_file() if result is None else result).encode(), **more}


class Platform(PlatformBenchmark):
    """Returns prepared files and records the runs."""

    def __init__(self, found: Mapping[str, bytes] | None = None) -> None:
        self.found = files() if found is None else found
        self.runs: list[PlatformRun] = []
        self.looked: list[Mapping[str, Any]] = []

    async def preflight(self, settings: Mapping[str, Any]) -> list[Check]:
        self.looked.append(settings)
        return [Check.ok("platform")]

    async def run(self, endpoint: Endpoint, run: PlatformRun) -> Mapping[str, bytes]:
        self.runs.append(run)
        run.on_running()
        return self.found


def window(folder: Path, level: LoadLevel = TWO, **workload: Any) -> Window:
    given = {"scenario": SCENARIO, "ignore_eos": False, "duration_s": 60, "requests": 10, **workload}
    return make_window(folder, level, **given)


async def measured(folder: Path, platform: Platform, *, model: str = MODEL, **workload: Any) -> Measurement:
    return await OmeJob(SETTINGS, platform).measure(UrlEndpoint("http://server", model), window(folder, **workload))


async def test_run_is_measured_by_its_requests(tmp_path: Path) -> None:
    """genai-bench's own averages have other definitions."""
    found = await measured(tmp_path, Platform())
    ttfts = [r["ttft"] for r in requests()]
    assert (found.requests, found.failed, found.errors, found.window_s) == (10, 0, {}, 12.5)
    assert found.distributions["ttft"].p50 == pytest.approx(quantiles(ttfts, n=2, method="inclusive")[0])
    assert found.distributions["ttft"].p90 == pytest.approx(quantiles(ttfts, n=10, method="inclusive")[-1])
    assert found.distributions["e2e_latency"].max == pytest.approx(1.9)
    assert found.distributions["tpot"].mean == pytest.approx(0.9 / 9)
    assert found.scalars["output_throughput"] == pytest.approx(100 / 12.5)
    assert found.scalars["request_throughput"] == pytest.approx(10 / 12.5)
    assert found.token_source == "tokenizer"
    assert not {"itl", "itl_token", "ttft_scheduled"} & set(found.distributions)
    kept = read_records(tmp_path / "records.parquet")
    assert len(kept) == 10
    assert set(kept.columns["asked_input"]) == {20}
    assert set(kept.columns["input_tokens"]) == {21}


async def test_failures_are_counted_by_error_codes(tmp_path: Path) -> None:
    """``error_rate`` is always 0."""
    errors = {"429": 2, "500": 1, "ConnectionError": 1}
    found = await measured(tmp_path, Platform(files(result_file(errors=errors))))
    assert (found.requests, found.failed) == (14, 4)
    assert found.errors == {"http_429": 2, "http_500": 1, "stream_error": 1}
    assert found.scalars["success_rate"] == pytest.approx(10 / 14)
    details = read_records(tmp_path / "records.parquet").columns["detail"]
    assert details[-1] == "error ConnectionError"


async def test_messages_of_failed_requests_are_kept(tmp_path: Path) -> None:
    bad = {"error_code": 429, "error_message": "slow\ndown"}
    result = result_file(errors={"429": 1})
    result["individual_request_metrics"].append(bad)
    found = await measured(tmp_path, Platform(files(result)))
    assert (found.requests, found.failed) == (11, 1)
    assert read_records(tmp_path / "records.parquet").columns["detail"][-1] == "slow down"


async def test_answer_without_tokens_is_a_failure(tmp_path: Path) -> None:
    good = [*requests(9), {**requests(1)[0], "num_output_tokens": 0}]
    found = await measured(tmp_path, Platform(files(result_file(good))))
    assert (found.requests, found.errors) == (10, {"empty": 1})


async def test_run_on_the_platform(tmp_path: Path) -> None:
    platform = Platform()
    seen = list[Progress]()
    asked = window(tmp_path, requests=None, duration_s=61, on_progress=seen.append)
    found = await OmeJob(SETTINGS, platform).measure(UrlEndpoint("http://server", MODEL), asked)
    [run] = platform.runs
    assert (run.scenario, run.in_flight, run.minutes, run.requests) == ("D(20,10)", 2, 2, UNBOUNDED)
    assert run.settings == SETTINGS.model_dump()
    assert run.labels == asked.labels
    assert [(p.completed, p.total_s) for p in seen] == [(0, 120)]
    assert [61, 2] in map(numbers, found.warnings)


async def test_notes_on_a_measurement(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    exact = await measured(tmp_path, Platform())
    assert any("0.1.113" in warning for warning in exact.warnings)
    assert not any(MODEL in warning for warning in exact.warnings)
    other = await measured(tmp_path, Platform(), model="sim-model", duration_s=61)
    assert any({MODEL, "sim-model"} <= set(re.split(r"[ ,]", warning)) for warning in other.warnings)
    assert (exact.warnings, other.warnings) == snapshot


async def test_overhead_of_genai_bench_is_noted(tmp_path: Path) -> None:
    platform = Platform(files(result_file(num_concurrency=16)))
    many = await OmeJob(SETTINGS, platform).measure(
        UrlEndpoint("http://server", MODEL), window(tmp_path, Concurrency(in_flight=16))
    )
    few = await measured(tmp_path, Platform())
    assert set(overhead_notes(16)) <= set(many.warnings)
    assert not set(overhead_notes(16)) & set(few.warnings)


@pytest.mark.parametrize(("duration", "minutes"), [(0.5, 1), (60, 1), (60.5, 2), (120, 2), (3601, 61)])
async def test_minutes_are_rounded_up(tmp_path: Path, duration: float, minutes: int) -> None:
    platform = Platform()
    found = await measured(tmp_path, platform, duration_s=duration)
    assert platform.runs[0].minutes == minutes
    rounded = [warning for warning in found.warnings if numbers(warning) == [duration, minutes]]
    assert len(rounded) == (duration != minutes * 60)


@pytest.mark.parametrize(
    ("found", "facts"),
    [
        ({METADATA: b"{}"}, "workload.duration"),
        ({}, "workload.duration"),
        (files(**{"b.json": b"{}"}), f" 2 .*: {NAME}, b.json"),
        (files(**{f"{n}.json": b"{}" for n in range(9)}), r" 10 .*: 0.json, .*4.json, \.\.\.;"),
        ({NAME: b"{"}, f"{NAME} .*: Invalid JSON"),
        ({NAME: b"[]"}, f"{NAME} .*: "),
        (files(result_file(run_duration=0)), "aggregated_metrics.run_duration"),
        (files(result_file(run_duration=float("nan"))), "aggregated_metrics.run_duration"),
        (files({"aggregated_metrics": result_file()["aggregated_metrics"]}), "individual_request_metrics: "),
        (files(result_file([], {"400": 10})), " 10 .*: .*400 x10.*vllm-model"),
        (files(result_file([], {"404": 3, "500": 1})), " 4 .*: .*404 x3, 500 x1.*vllm-model"),
        (files(result_file([])), " 0 .*vllm-model"),
        (files(result_file(num_requests=11)), f"{NAME}.* 10 .* 11;"),
        (files(result_file(num_completed_requests=9, num_requests=9)), f"{NAME}.* 10 .* 9;"),
        (files(result_file(num_error_requests=1, num_requests=11)), f"{NAME}.* 0 error codes.* 1;"),
        (files(result_file(scenario="D(100,100)")), r"D\(100,100\) at 2 .*D\(20,10\) at 2"),
        (files(result_file(num_concurrency=4)), r"D\(20,10\) at 4 .*D\(20,10\) at 2"),
        (files({**result_file(), "_time_unit": "ms"}), f"{NAME} .* ms;"),
        (files(result_file([{**requests(1)[0], "ttft": 0.0}])), "request 0 .*ttft 0.0 s"),
        (files(result_file([{**requests(1)[0], "ttft": 2.0}])), "request 0 .*ttft 2.0 s, e2e_latency 1.0 s"),
        (files(result_file([{**requests(1)[0], "e2e_latency": 13.0}])), "13.0 s, 10 tokens .* 12.5 s"),
        (files(result_file([{**requests(1)[0], "num_output_tokens": None}])), "None tokens"),
        (files(result_file([{**requests(1)[0], "ttft": None}])), "ttft None s"),
    ],
)
async def test_run_without_a_valid_result_fails(
    tmp_path: Path, found: Mapping[str, bytes], facts: str, snapshot: SnapshotAssertion
) -> None:
    with pytest.raises(TrialFailedError) as raised:
        await OmeJob(SETTINGS, Platform(found)).measure(UrlEndpoint("http://server", MODEL), window(tmp_path))
    failure = raised.value.failure
    assert failure.cause is FailureCause.BENCHMARK_FAILED
    assert failure.remedy
    assert "\n" not in failure.message
    assert re.search(facts, f"{failure.message}; {failure.remedy}")
    assert (failure.message, failure.remedy) == snapshot
    assert not (tmp_path / "records.parquet").exists()


# what cannot be asked


def spec(workload: Any, kind: str = "sglang", **more: Any) -> StudySpec:
    """A study with one model."""
    return StudySpec(
        name="s",
        model=Model(path="m"),
        engine=EngineSpec(kind=kind),
        deploy=PluginSpec(kind="ome"),
        workload=workload,
        **{"objectives": (Objective(metric="output_throughput", direction="max"),), **more},
    )


def refused(study: StudySpec, model: Model | None = None) -> list[str]:
    """The fields that are refused."""
    try:
        OmeJob(SETTINGS).for_study(study, model or Model(path="m"))
    except UsageError as error:
        return [problem.where for problem in error.problems]
    return []


DATASET = Scenario(text="dataset:/d.jsonl", dataset="/d.jsonl")
NORMAL = Scenario(
    text="N(20,2)/(10,1)",
    input=TokenLengths(kind="normal", a=20, b=2),
    output=TokenLengths(kind="normal", a=10, b=1),
)


@pytest.mark.parametrize(
    ("workload", "where"),
    [
        ({}, []),
        ({"scenario": NORMAL}, []),
        ({"extra_body": {"temperature": 0}}, []),
        ({"extra_body": {"temperature": "0.0"}}, []),
        ({"level": RequestRate(rate=4)}, ["workload.rates"]),
        ({"scenario": DATASET}, ["workload.scenarios"]),
        ({"scenario": fixed_scenario(20, 1)}, ["workload.scenarios"]),
        ({"ignore_eos": True}, ["workload.ignore_eos"]),
        ({"api": Api.COMPLETIONS}, ["workload.api"]),
        ({"seed": 7}, ["workload.seed"]),
        ({"prefix_tokens": 64}, ["workload.prefix_tokens"]),
        ({"extra_body": {"temperature": 0.7}}, ["workload.extra_body.temperature"]),
        ({"extra_body": {"temperature": False}}, ["workload.extra_body.temperature"]),
        ({"extra_body": {"temperature": "warm"}}, ["workload.extra_body.temperature"]),
        ({"extra_body": {"temperature": 0, "top_p": 1}}, ["workload.extra_body.top_p"]),
        ({"ignore_eos": True, "seed": 7}, ["workload.seed", "workload.ignore_eos"]),
    ],
)
async def test_unsupported_workload_is_refused(tmp_path: Path, workload: dict[str, Any], where: list[str]) -> None:
    """``for_study`` and the preflight refuse it before the first trial, and ``measure`` starts no run."""
    asked = window(tmp_path, **workload)
    platform = Platform()
    assert refused(spec(asked.workload)) == where
    failing = [c for c in await OmeJob(SETTINGS, platform).preflight(asked.workload) if c.status is CheckStatus.FAIL]
    assert [c.name for c in failing] == where
    assert all(c.remedy for c in failing)
    assert platform.looked == [SETTINGS.model_dump()]
    if where:
        with pytest.raises(UsageError):
            await OmeJob(SETTINGS, platform).measure(UrlEndpoint("http://server"), asked)
        assert platform.runs == []


async def test_request_headers_are_refused(tmp_path: Path) -> None:
    platform = Platform()
    asked = window(tmp_path, headers={"Authorization": "Bearer very-secret"})
    with pytest.raises(UsageError, match=r"benchmark.kind.*\(Authorization\)") as raised:
        await OmeJob(SETTINGS, platform).measure(UrlEndpoint("http://server"), asked)
    assert "very-secret" not in str(raised.value)
    assert platform.runs == []


def test_metrics_that_need_every_token_are_refused(tmp_path: Path) -> None:
    workload = window(tmp_path).workload
    itl = Objective(metric="itl", statistic="p99", direction="min")
    bound = SLO(metric="itl_token", statistic="p99", threshold=0.1)
    assert refused(spec(workload, objectives=(itl,))) == ["objective min p99 itl"]
    assert refused(spec(workload, slos=(bound,))) == [f"slo {bound.text}"]
    assert refused(spec(workload, slos=(SLO(metric="tpot", statistic="p99", threshold=0.1),))) == []


@pytest.mark.parametrize(
    ("engine", "name", "where"),
    [
        ("sglang", None, []),
        ("sglang", "m", []),
        ("vllm", MODEL, []),
        ("vllm", None, ["model.name"]),
        ("vllm", "m", ["model.name"]),
    ],
)
def test_vllm_must_serve_the_model_name_that_ome_requests(
    tmp_path: Path, engine: str, name: str | None, where: list[str]
) -> None:
    assert refused(spec(window(tmp_path).workload, engine), Model(path="m", name=name)) == where


class WithBenchmark(FakeDeployer):
    """A deployer whose platform has a benchmark."""

    def __init__(self, platform: PlatformBenchmark) -> None:
        super().__init__()
        self.platform_benchmark = platform


async def test_a_deployer_without_benchmark_jobs(tmp_path: Path) -> None:
    deployer = FakeDeployer()
    with pytest.raises(UsageError, match=r"benchmark.kind.* fake .*deploy: ome"):
        OmeJob(SETTINGS).for_deployer(deployer)
    platform = Platform()
    bound = OmeJob(SETTINGS).for_deployer(WithBenchmark(platform))
    found = await bound.measure(UrlEndpoint("http://s", MODEL), window(tmp_path))
    assert found.requests == 10
    assert len(platform.runs) == 1
    with pytest.raises(UsageError, match=r"benchmark.kind.*deploy: ome"):
        await OmeJob(SETTINGS).measure(UrlEndpoint("http://s", MODEL), window(tmp_path))
