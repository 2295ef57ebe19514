"""Servers measured by BenchmarkJobs: a whole study, and runs that go wrong in ways that OME does not tell."""

import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

import autotuner
from autotuner.benchmarks.ome_job import OmeJob, OmeJobSettings
from autotuner.engines.sglang.engine import Sglang, SglangSettings
from autotuner.plugins.benchmark import Window
from autotuner.study.check import CheckStatus
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.spec import EngineSpec, Model
from autotuner.study.trial import TrialState
from autotuner.study.workload import Concurrency
from autotuner.testing.benchmark_kit import fixed_scenario, make_window
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan
from support.ome_lab import BY_OME, written
from support.ome_standin.furniture import MODEL
from support.ome_standin.lab import eventually

pytestmark = pytest.mark.cluster


def study(at: Any) -> dict[str, Any]:
    """Two configurations of the simulated SGLang, measured with what OME brings along."""
    return {
        "name": "by-ome",
        "model": MODEL,
        "engine": "sglang",
        "deploy": {"kind": "ome", **at.settings()},
        "benchmark": {"kind": "ome_job", **BY_OME},
        "parameters": {"mem-fraction-static": [0.8]},
        "workload": {
            "scenarios": ["D(20,10)"],
            "concurrency": [2],
            "requests": 10,
            "duration": "60s",
            "ignore_eos": False,
        },
        "objective": "min p50 ttft",
        "search": {"strategy": "grid", "trials": 2},
        "confirm": {"repeats": 0},
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return tmp_path / "home"


def test_a_study_measured_by_ome(at: Any, results: Path, home: Path) -> None:
    """Every request that OME counts is in the measurement; neither jobs nor result folders stay."""
    at.needs_names()
    result = autotuner.tune(study(at))
    assert [t.state for t in result.trials] == [TrialState.DONE] * 2, [t.failure for t in result.trials]
    for trial in result.trials:
        [measured] = trial.measurements
        assert (measured.requests, measured.failed, measured.errors) == (10, 0, {})
        assert measured.distributions["ttft"].count == 10
        assert 0 < measured.distributions["ttft"].p50 < measured.distributions["e2e_latency"].p50 < measured.window_s
        assert "itl" not in measured.distributions
        assert any("in a BenchmarkJob of OME" in warning for warning in measured.warnings)
    assert at.left() == []
    assert written(results) == []


# what goes wrong


def job(at: Any, **changes: Any) -> OmeJob:
    """For servers of that namespace."""
    made = OmeJob(OmeJobSettings.model_validate({**BY_OME, "start_timeout": 20, **changes}))
    return made.for_deployer(at.deployer())


def window(recorder: Recorder, **changes: Any) -> Window:
    given = {"scenario": fixed_scenario(20, 10), "ignore_eos": False, "requests": 10, "duration_s": 60, **changes}
    return make_window(recorder.context.folder, Concurrency(in_flight=2), **given)


async def refused(at: Any, recorder: Recorder, **changes: Any) -> Failure:
    """How a run failed; nothing of it stays while its server lives on."""
    engine = Sglang(SglangSettings())
    plan = engine.plan(Model(path=MODEL), EngineSpec(kind="sglang"), Configuration())
    async with at.deployer(engine).deploy(plan, recorder.context) as endpoint:
        before = at.left()
        with pytest.raises(TrialFailedError) as raised:
            await job(at, **changes).measure(endpoint, window(recorder))
        assert at.lab.all("BenchmarkJob") == at.lab.all("Pod", "benchmark") == []
        await run_sync(eventually, lambda: at.left() == before, "the reader's pod has ended and goes by itself")
    return raised.value.failure


@pytest.mark.anyio
@pytest.mark.campaign
@pytest.mark.parametrize(
    ("fault", "facts"),
    [
        ("all_errors", "10 .*: errors 400 x10"),
        ("no_files", "workload.duration"),
        ("nothing_completed", " 0 .*vllm-model"),
        ("crash", "exit code 1: Error: cannot reach the hub"),
    ],
)
async def test_runs_that_measured_nothing(at: Any, results: Path, recorder: Recorder, fault: str, facts: str) -> None:
    """The first three are Completed as OME says; what they wrote is gone all the same."""
    with at.ome.fault(benchmark=fault):
        failure = await refused(at, recorder)
    assert failure.cause is FailureCause.BENCHMARK_FAILED
    assert re.search(facts, f"{failure.message}; {failure.remedy}")
    assert failure.remedy
    assert written(results) == []
    if fault == "crash":
        assert failure.exit_code == 1
        assert "cannot reach the hub" in failure.log_tail


@pytest.mark.anyio
@pytest.mark.campaign
@pytest.mark.parametrize(
    ("changes", "cause", "words", "remedy"),
    [
        ({"cpu": "64", "start_timeout": 5}, FailureCause.BENCHMARK_FAILED, "Insufficient cpu", "benchmark.cpu"),
        (
            {"node_selector": {"disk": "none"}, "start_timeout": 5},
            FailureCause.BENCHMARK_FAILED,
            "node affinity/selector",
            "node_selector",
        ),
        ({"image": "registry.invalid/x:1", "start_timeout": 5}, FailureCause.IMAGE_MISSING, "Pull", "benchmark.image"),
        ({"image": "Not/An:Image:Name"}, FailureCause.IMAGE_MISSING, "InvalidImageName", "benchmark.image"),
    ],
)
async def test_pods_that_never_run(
    at: Any, results: Path, recorder: Recorder, changes: dict[str, Any], cause: FailureCause, words: str, remedy: str
) -> None:
    """OME says Running of all of them."""
    failure = await refused(at, recorder, **changes)
    assert failure.cause is cause
    assert words in failure.message
    assert "is Running, but its pod is not" in failure.message
    assert remedy in failure.remedy
    assert written(results) == []


@pytest.mark.anyio
@pytest.mark.campaign
async def test_a_claim_that_is_not_there(at: Any, recorder: Recorder) -> None:
    """Preflight reports a missing claim; the run reports one that vanishes later, for which OME would wait forever."""
    failing = [c for c in await job(at).preflight(window(recorder).workload) if c.status is CheckStatus.FAIL]
    assert ["results" in check.detail for check in failing] == [True]
    failure = await refused(at, recorder)
    assert failure.cause is FailureCause.BENCHMARK_FAILED
    assert f"claim results does not exist in {at.lab.namespace}" in failure.message
    assert "benchmark.claim" in failure.remedy


@pytest.mark.anyio
@pytest.mark.campaign
async def test_a_run_that_is_cut_off(at: Any, results: Path, recorder: Recorder) -> None:
    """In the middle of its load, which goes on for a minute: job, pod and folder go with it."""
    begun = anyio.Event()
    running = window(recorder, requests=100_000, on_progress=lambda _: begun.set())
    async with at.deployer().deploy(fake_plan(), recorder.context) as endpoint:
        before = at.left()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(job(at).measure, endpoint, running)
            await begun.wait()
            await run_sync(eventually, lambda: written(results))
            assert at.left() != before
            tasks.cancel_scope.cancel()
        assert at.lab.all("BenchmarkJob") == at.lab.all("Pod", "benchmark") == []
        await run_sync(eventually, lambda: at.left() == before, "the reader's pod has ended and goes by itself")
    assert written(results) == []
