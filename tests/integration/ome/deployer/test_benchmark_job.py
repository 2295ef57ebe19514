"""Measurement by BenchmarkJobs: a whole study, and failures that OME does not report."""

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
from support.ome_lab import JOB_SETTINGS, written
from support.ome_standin.lab import eventually
from support.ome_standin.sample_objects import MODEL

pytestmark = pytest.mark.cluster


def study(at: Any) -> dict[str, Any]:
    """Returns a study of two configurations of the simulated SGLang, measured by OME."""
    return {
        "name": "by-ome",
        "model": MODEL,
        "engine": "sglang",
        "deploy": {"kind": "ome", **at.settings()},
        "benchmark": {"kind": "ome_job", **JOB_SETTINGS},
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


def test_study_measured_by_ome(at: Any, results: Path, home: Path) -> None:
    """The measurement has all requests that OME counts, and no job or result folder is left."""
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


# Failures


def job(at: Any, **changes: Any) -> OmeJob:
    """Returns a benchmark of servers in the namespace."""
    made = OmeJob(OmeJobSettings.model_validate({**JOB_SETTINGS, "start_timeout": 20, **changes}))
    return made.for_deployer(at.deployer())


def window(recorder: Recorder, **changes: Any) -> Window:
    given = {"scenario": fixed_scenario(20, 10), "ignore_eos": False, "requests": 10, "duration_s": 60, **changes}
    return make_window(recorder.context.folder, Concurrency(in_flight=2), **given)


async def refused(at: Any, recorder: Recorder, **changes: Any) -> Failure:
    """Returns the failure of a run, and checks that only its server is left."""
    engine = Sglang(SglangSettings())
    plan = engine.plan(Model(path=MODEL), EngineSpec(kind="sglang"), Configuration())
    async with at.deployer(engine).deploy(plan, recorder.context) as endpoint:
        before = at.left()
        with pytest.raises(TrialFailedError) as raised:
            await job(at, **changes).measure(endpoint, window(recorder))
        assert at.lab.all("BenchmarkJob") == at.lab.all("Pod", "benchmark") == []
        await run_sync(eventually, lambda: at.left() == before, "the reader's pod has ended and is removed")
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
async def test_runs_without_a_result(at: Any, results: Path, recorder: Recorder, fault: str, facts: str) -> None:
    """OME reports the first three as Completed; their results are removed as well."""
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
    ("changes", "cause", "reason", "setting"),
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
async def test_pods_that_cannot_start(
    at: Any, results: Path, recorder: Recorder, changes: dict[str, Any], cause: FailureCause, reason: str, setting: str
) -> None:
    """OME reports all of them as Running."""
    failure = await refused(at, recorder, **changes)
    assert failure.cause is cause
    assert reason in failure.message
    assert setting in failure.remedy
    assert written(results) == []


@pytest.mark.anyio
@pytest.mark.campaign
async def test_missing_claim(at: Any, recorder: Recorder) -> None:
    """Preflight reports a missing claim; the run reports one that vanishes later, for which OME would wait forever."""
    failing = [c for c in await job(at).preflight(window(recorder).workload) if c.status is CheckStatus.FAIL]
    assert ["results" in check.detail for check in failing] == [True]
    failure = await refused(at, recorder)
    assert failure.cause is FailureCause.BENCHMARK_FAILED
    assert [part for part in ("results", at.lab.namespace) if part not in failure.message] == []
    assert "benchmark.claim" in failure.remedy


@pytest.mark.anyio
@pytest.mark.campaign
async def test_cancelled_run(at: Any, results: Path, recorder: Recorder) -> None:
    """Cancelled in the middle of a minute of load: job, pod and results are removed."""
    started = anyio.Event()
    running = window(recorder, requests=100_000, on_progress=lambda _: started.set())
    async with at.deployer().deploy(fake_plan(), recorder.context) as endpoint:
        before = at.left()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(job(at).measure, endpoint, running)
            await started.wait()
            await run_sync(eventually, lambda: written(results))
            assert at.left() != before
            tasks.cancel_scope.cancel()
        assert at.lab.all("BenchmarkJob") == at.lab.all("Pod", "benchmark") == []
        await run_sync(eventually, lambda: at.left() == before, "the reader's pod has ended and is removed")
    assert written(results) == []
