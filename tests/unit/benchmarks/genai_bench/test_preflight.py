"""Refusals and checks before the first trial of a study with genai-bench."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.benchmarks.genai_bench.benchmark import COMMAND_VARIABLE, GenaiBench, GenaiBenchSettings
from autotuner.errors import UsageError
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.objective import SLO, Objective
from autotuner.study.spec import EngineSpec, Model, PluginSpec, StudySpec
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Api, RequestRate, Scenario
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window
from support.genai_bench import DOUBLE, KEY, ONE, measured, scripted

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("where", "value", "workload", "settings"),
    [
        ("workload.rates", "rate=2/s poisson", {"levels": [RequestRate(rate=2.0)]}, {}),
        ("workload.scenarios", "dataset:x", {"scenarios": [Scenario(text="dataset:x", dataset="x")]}, {}),
        ("workload.prefix_tokens", "5", {"prefix_tokens": 5}, {}),
        ("workload.seed", "5", {"seed": 5}, {}),
        ("workload.api", "completions", {"api": Api.COMPLETIONS}, {}),
        ("benchmark.backend", "openai", {}, {"backend": "openai"}),
        ("benchmark.backend", "sglang", {"ignore_eos": False}, {"backend": "sglang"}),
        ("workload.extra_body.stream", "", {"extra_body": {"stream": False}}, {}),
        ("benchmark.extra_args", "--num-workers", {}, {"extra_args": ("--num-workers=4",)}),
        ("benchmark.tokenizer", "/nowhere", {}, {"tokenizer": "/nowhere"}),
        ("benchmark.api_key_env", "MY_KEY", {}, {"api_key_env": "MY_KEY"}),
        (
            "workload.scenarios",
            "D(8,4) prefixes=2 prefix_tokens=16",
            {"scenarios": [parse_scenario("D(8,4) prefixes=2 prefix_tokens=16")]},
            {},
        ),
        ("workload.scenarios", "D(8,4) model=a", {"scenarios": [parse_scenario("D(8,4) model=a")]}, {}),
        ("workload.api", "embeddings", {"api": Api.EMBEDDINGS, "scenarios": [parse_scenario("E(8)")]}, {}),
        ("workload.stream", "false", {"stream": False}, {}),
        ("workload.scenarios", "I(64,64)", {"scenarios": [parse_scenario("I(64,64)")]}, {}),
    ],
)
async def test_refusal_before_the_first_trial(
    tokenizer: Path,
    tmp_path: Path,
    snapshot: SnapshotAssertion,
    where: str,
    value: str,
    workload: dict[str, object],
    settings: dict[str, object],
) -> None:
    given = make_window(tmp_path, ONE).workload
    asked = given.model_validate({**given.model_dump(), **workload})
    command = (sys.executable, str(DOUBLE))
    benchmark = GenaiBench(
        GenaiBenchSettings.model_validate({"command": command, "tokenizer": str(tokenizer), **settings})
    )
    (failed,) = [c for c in await benchmark.preflight(asked) if c.status is CheckStatus.FAIL]
    assert failed.name == where
    assert value in failed.detail
    assert failed.remedy
    assert (failed.detail, failed.remedy) == snapshot
    window = replace(make_window(tmp_path, asked.levels[0], scenario=asked.scenarios[0]), workload=asked)
    with pytest.raises(UsageError) as error:
        await benchmark.measure(UrlEndpoint("http://127.0.0.1:1"), window)
    assert [(problem.where, problem.value) for problem in error.value.problems] == [(where, value)]


async def test_refusal_of_other_headers_does_not_quote_their_values(tokenizer: Path, tmp_path: Path) -> None:
    window = make_window(tmp_path, ONE, headers={"X-Key": KEY})
    with pytest.raises(UsageError, match="X-Key") as raised:
        await scripted(tokenizer).measure(UrlEndpoint("http://127.0.0.1:1"), window)
    assert KEY not in str(raised.value)


def study(tmp_path: Path, **more: object) -> StudySpec:
    fields = {
        "name": "s",
        "model": Model(path=str(tmp_path)),
        "engine": EngineSpec(kind="fake"),
        "deploy": PluginSpec(kind="fake"),
        "workload": make_window(tmp_path, ONE).workload,
        "objectives": [Objective.model_validate({"metric": "output_throughput", "direction": "max"})],
        **more,
    }
    return StudySpec.model_validate(fields)


async def test_tokenizer_of_the_model_is_the_last_resort(tokenizer: Path, tmp_path: Path) -> None:
    spec = study(tmp_path)
    workload = spec.workload
    without = scripted(None).for_study(spec, Model(path="org/name"))
    (failed,) = [c for c in await without.preflight(workload) if c.status is CheckStatus.FAIL]
    assert failed.name == "benchmark.tokenizer"
    assert "tokenizer.json" in failed.remedy
    found = scripted(None).for_study(spec, Model(path=str(tokenizer)))
    assert [c.status for c in await found.preflight(workload)] == [CheckStatus.OK]
    named = workload.model_copy(update={"tokenizer": "/nowhere"})
    assert "/nowhere" in (await found.preflight(named))[1].detail


@pytest.mark.parametrize(
    "asked",
    [
        {"slos": [SLO(metric="itl", threshold=0.1)]},
        {"objectives": [Objective.model_validate({"metric": "itl_token", "statistic": "p99", "direction": "min"})]},
    ],
)
def test_objective_that_cannot_be_measured_is_refused(
    tokenizer: Path, tmp_path: Path, asked: dict[str, object]
) -> None:
    with pytest.raises(UsageError) as error:
        scripted(tokenizer).for_study(study(tmp_path, **asked), Model(path="m"))
    (problem,) = error.value.problems
    assert "itl" in problem.where
    assert "tpot" in problem.remedy


async def test_missing_command(tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMMAND_VARIABLE, "/nowhere/genai-bench")
    benchmark = GenaiBench(GenaiBenchSettings(tokenizer=str(tokenizer)))
    (check,) = await benchmark.preflight(make_window(tmp_path, ONE).workload)
    assert check.status is CheckStatus.FAIL
    assert "/nowhere/genai-bench" in check.detail
    assert "pip install genai-bench==0.0.5" in check.remedy
    with pytest.raises(TrialFailedError, match="/nowhere/genai-bench") as raised:
        await measured(benchmark, tmp_path)
    assert raised.value.failure.cause is FailureCause.BENCHMARK_FAILED


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("genai-bench version 0.0.5", CheckStatus.OK),
        ("genai-bench version 9.1", CheckStatus.WARN),
        ("ImportError: no click", CheckStatus.FAIL),
    ],
)
async def test_version_is_checked(tokenizer: Path, tmp_path: Path, version: str, status: CheckStatus) -> None:
    (check,) = await scripted(tokenizer, f"version={version}").preflight(make_window(tmp_path, ONE).workload)
    assert check.status is status
    assert version.rpartition(" ")[2] in check.detail
