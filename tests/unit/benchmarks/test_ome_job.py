"""ome_job without a cluster: what genai-bench's files become, which of them are refused, and what cannot be asked."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest

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

pytestmark = pytest.mark.anyio
SCENARIO = fixed_scenario(20, 10)
TWO = Concurrency(in_flight=2)
NAME = "D20_10_text-to-text_num_concurrency_2_time_12s.json"
METADATA = "experiment_metadata.json"
SETTINGS = OmeJobSettings(claim="results", image="genai-bench:1")


def requests(count: int = 10, tokens: int = 10) -> list[dict[str, Any]]:
    """The times of each differ: request ``n`` has its first token after ``n + 1`` tenths of a second."""
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


def told(good: list[dict[str, Any]] | None = None, errors: Mapping[str, int] | None = None, **changes: Any) -> Any:
    """A result file as genai-bench writes it, whose own averages and error rate lie; keywords change its totals."""
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
    """Of one run."""
    metadata = json.dumps({"benchmark_version": "0.1.113"}).encode()
    return {METADATA: metadata, NAME: json.dumps(told() if result is None else result).encode(), **more}


class Platform(PlatformBenchmark):
    """Hands out files, and keeps what it was asked for."""

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


async def test_a_good_run_is_measured_by_its_requests(tmp_path: Path) -> None:
    """Not by genai-bench's own averages, which are of other definitions."""
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


async def test_failures_are_counted_from_the_codes(tmp_path: Path) -> None:
    """``error_rate`` is 0 whatever happened."""
    errors = {"429": 2, "500": 1, "ConnectionError": 1}
    found = await measured(tmp_path, Platform(files(told(errors=errors))))
    assert (found.requests, found.failed) == (14, 4)
    assert found.errors == {"http_429": 2, "http_500": 1, "stream_error": 1}
    assert found.scalars["success_rate"] == pytest.approx(10 / 14)
    details = read_records(tmp_path / "records.parquet").columns["detail"]
    assert details[-1] == "error ConnectionError"


async def test_what_failed_requests_say_is_kept_with_their_code(tmp_path: Path) -> None:
    bad = {"error_code": 429, "error_message": "slow\ndown"}
    result = told(errors={"429": 1})
    result["individual_request_metrics"].append(bad)
    found = await measured(tmp_path, Platform(files(result)))
    assert (found.requests, found.failed) == (11, 1)
    assert read_records(tmp_path / "records.parquet").columns["detail"][-1] == "slow down"


async def test_an_answer_without_tokens_failed(tmp_path: Path) -> None:
    good = [*requests(9), {**requests(1)[0], "num_output_tokens": 0}]
    found = await measured(tmp_path, Platform(files(told(good))))
    assert (found.requests, found.errors) == (10, {"empty": 1})


async def test_what_the_platform_is_asked_for(tmp_path: Path) -> None:
    platform = Platform()
    seen = list[Progress]()
    asked = window(tmp_path, requests=None, duration_s=61, on_progress=seen.append)
    found = await OmeJob(SETTINGS, platform).measure(UrlEndpoint("http://server", MODEL), asked)
    [run] = platform.runs
    assert (run.scenario, run.in_flight, run.minutes, run.requests) == ("D(20,10)", 2, 2, UNBOUNDED)
    assert run.settings == SETTINGS.model_dump()
    assert run.labels == asked.labels
    assert [(p.completed, p.total_s) for p in seen] == [(0, 120)]
    assert any("workload.duration 61 s became 2 minutes" in warning for warning in found.warnings)


async def test_what_a_reader_must_know_is_in_the_warnings(tmp_path: Path) -> None:
    exact = await measured(tmp_path, Platform())
    text = "\n".join(exact.warnings)
    assert "measured by genai-bench 0.1.113 in a BenchmarkJob of OME" in text
    assert "whole run" in text
    assert "itl is not measured" in text
    assert "minute" not in text
    assert MODEL not in text
    other = await measured(tmp_path, Platform(), model="sim-model")
    assert any("the server calls it sim-model" in warning for warning in other.warnings)


async def test_its_own_work_is_told_where_it_shows(tmp_path: Path) -> None:
    platform = Platform(files(told(num_concurrency=16)))
    many = await OmeJob(SETTINGS, platform).measure(
        UrlEndpoint("http://server", MODEL), window(tmp_path, Concurrency(in_flight=16))
    )
    few = await measured(tmp_path, Platform())
    assert [any("own work" in warning for warning in found.warnings) for found in (many, few)] == [True, False]


@pytest.mark.parametrize(("duration", "minutes"), [(0.5, 1), (60, 1), (60.5, 2), (120, 2), (3601, 61)])
async def test_minutes_are_rounded_up(tmp_path: Path, duration: float, minutes: int) -> None:
    platform = Platform()
    found = await measured(tmp_path, platform, duration_s=duration)
    assert platform.runs[0].minutes == minutes
    said = [warning for warning in found.warnings if "whole minutes only" in warning]
    assert len(said) == (duration != minutes * 60)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({METADATA: b"{}"}, "wrote no result: no request ended"),
        ({}, "wrote no result: no request ended"),
        (files(**{"b.json": b"{}"}), f"2 files where one result was expected: {NAME}, b.json"),
        (files(**{f"{n}.json": b"{}" for n in range(9)}), r"10 files .*: 0.json, .*4.json, \.\.\.$"),
        ({NAME: b"{"}, f"{NAME} is no result of genai-bench: Invalid JSON"),
        ({NAME: b"[]"}, f"{NAME} is no result of genai-bench: "),
        (files(told(run_duration=0)), "is no result .*aggregated_metrics.run_duration"),
        (files(told(run_duration=float("nan"))), "is no result .*aggregated_metrics.run_duration"),
        (files({"aggregated_metrics": told()["aggregated_metrics"]}), "individual_request_metrics: Field required"),
        (files(told([], {"400": 10})), "no request of 10 completed: errors 400 x10"),
        (files(told([], {"404": 3, "500": 1})), "no request of 4 completed: errors 404 x3, 500 x1"),
        (files(told([])), "no request of 0 completed$"),
        (files(told(num_requests=11)), "do not add up: 10 completed and failed requests, and it says 11"),
        (files(told(num_completed_requests=9, num_requests=9)), "do not add up: 10 requests that completed, .* says 9"),
        (files(told(num_error_requests=1, num_requests=11)), "do not add up: 0 error codes, and it says 1"),
        (files(told(scenario="D(100,100)")), r"is of another run: D\(100,100\) at 2 in flight, and D\(20,10\) at 2"),
        (files(told(num_concurrency=4)), r"is of another run: D\(20,10\) at 4 in flight, and D\(20,10\) at 2"),
        (files({**told(), "_time_unit": "ms"}), f"{NAME} counts time in ms"),
        (files(told([{**requests(1)[0], "ttft": 0.0}])), "request 0 cannot be: ttft 0.0 s"),
        (files(told([{**requests(1)[0], "ttft": 2.0}])), "request 0 cannot be: ttft 2.0 s, e2e_latency 1.0 s"),
        (files(told([{**requests(1)[0], "e2e_latency": 13.0}])), "13.0 s, 10 tokens in a run of 12.5 s"),
        (files(told([{**requests(1)[0], "num_output_tokens": None}])), "None tokens"),
        (files(told([{**requests(1)[0], "ttft": None}])), "ttft None s"),
    ],
)
async def test_a_false_success_is_refused(tmp_path: Path, found: Mapping[str, bytes], words: str) -> None:
    with pytest.raises(TrialFailedError) as raised:
        await OmeJob(SETTINGS, Platform(found)).measure(UrlEndpoint("http://server", MODEL), window(tmp_path))
    failure = raised.value.failure
    assert failure.cause is FailureCause.BENCHMARK_FAILED
    assert failure.remedy
    assert "\n" not in failure.message
    assert re.search(words, raised.value.failure.message)
    assert not (tmp_path / "records.parquet").exists()


# what cannot be asked


def spec(workload: Any, kind: str = "sglang", **more: Any) -> StudySpec:
    """Of a study with one model."""
    return StudySpec(
        name="s",
        model=Model(path="m"),
        engine=EngineSpec(kind=kind),
        deploy=PluginSpec(kind="ome"),
        workload=workload,
        **{"objectives": (Objective(metric="output_throughput", direction="max"),), **more},
    )


def refused(study: StudySpec, model: Model | None = None) -> list[str]:
    """Where it is refused, or nowhere."""
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
async def test_what_a_benchmark_job_cannot_do(tmp_path: Path, workload: dict[str, Any], where: list[str]) -> None:
    """Said before the first trial, by ``for_study`` and by the preflight; and no run is started either."""
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


async def test_credentials_cannot_be_sent(tmp_path: Path) -> None:
    platform = Platform()
    asked = window(tmp_path, headers={"Authorization": "Bearer very-secret"})
    with pytest.raises(UsageError, match="no request headers") as raised:
        await OmeJob(SETTINGS, platform).measure(UrlEndpoint("http://server"), asked)
    assert "very-secret" not in str(raised.value)
    assert platform.runs == []


def test_metrics_that_need_every_token(tmp_path: Path) -> None:
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
def test_vllm_must_serve_the_name_that_ome_asks_for(
    tmp_path: Path, engine: str, name: str | None, where: list[str]
) -> None:
    assert refused(spec(window(tmp_path).workload, engine), Model(path="m", name=name)) == where


class WithBenchmark(FakeDeployer):
    """A deployer whose target brings a benchmark along."""

    def __init__(self, platform: PlatformBenchmark) -> None:
        super().__init__()
        self.platform_benchmark = platform


async def test_a_deployer_without_benchmark_jobs(tmp_path: Path) -> None:
    deployer = FakeDeployer()
    with pytest.raises(UsageError, match="has no BenchmarkJob; use deploy: ome"):
        OmeJob(SETTINGS).for_deployer(deployer)
    platform = Platform()
    bound = OmeJob(SETTINGS).for_deployer(WithBenchmark(platform))
    found = await bound.measure(UrlEndpoint("http://s", MODEL), window(tmp_path))
    assert found.requests == 10
    assert len(platform.runs) == 1
    with pytest.raises(UsageError, match="no deployer runs its jobs"):
        await OmeJob(SETTINGS).measure(UrlEndpoint("http://s", MODEL), window(tmp_path))
