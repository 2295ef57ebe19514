"""Whole studies in a cluster: SGLang's own command line in pods (played by the simulator), load from a Job."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.events.follow import read
from autotuner.events.types import PhaseEntered
from autotuner.plugins import loading
from autotuner.store import Store
from autotuner.study.failure import FailureCause
from autotuner.study.trial import TrialState
from autotuner.testing.fake_engine import FakeEngine
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload

pytestmark = pytest.mark.cluster

MODEL = "llama-3-2-1b-instruct"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of the node with the model."""
    folder = tmp_path / "models"
    (folder / MODEL).mkdir(parents=True)
    (folder / MODEL / "config.json").write_text("{}")
    return folder


def test_a_study_of_sglang_in_pods(kube: Any, models: Path, home: Path) -> None:
    """Two configurations on one GPU each; the third asks for more memory than there is, which its log tells."""
    deploy = kube.settings(model_roots=[str(models)], image=None)
    result = autotuner.tune(
        {
            "name": "in-pods",
            "model": MODEL,
            "engine": "sglang",
            "deploy": {"kind": "kubernetes", **deploy},
            "parameters": {"mem-fraction-static": [0.8, 0.999]},
            "workload": calm_workload("D(100,20)"),
            "benchmark": CALM_BENCHMARK,
            "objective": "max output_throughput",
            "search": {"strategy": "grid", "trials": 3},
            "confirm": {"repeats": 0},
        }
    )
    states = [t.state for t in result.trials]
    assert states == [TrialState.DONE, TrialState.DONE, TrialState.FAILED], [t.failure for t in result.trials]
    assert result.trials[2].failure is not None
    assert result.trials[2].failure.cause is FailureCause.GPU_OUT_OF_MEMORY_RUNNING
    for trial in result.trials[:2]:
        assert trial.gpus == 1
        assert trial.simulated
        assert trial.identity is not None
        assert trial.identity.kind == "pod"
        assert trial.measurements[0].requests > 0
        assert trial.measurements[0].failed == 0
    argv = result.trials[1].argv
    assert argv[argv.index("--mem-fraction-static") + 1] == "0.8"
    assert argv[argv.index("--model-path") + 1] == str(models / MODEL)
    log = (home / "studies").rglob("server.log")
    assert any("mem_fraction_static" in file.read_text() for file in log)


class Known:
    """An entry point of a class that is at hand."""

    def load(self) -> type:
        return FakeEngine


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> str:
    """The scripted server as an engine."""
    installed = loading.kinds

    def kinds(group: loading.Group) -> dict[str, Any]:
        return {**installed(group), **({FakeEngine.kind: Known()} if group == "engines" else {})}

    monkeypatch.setattr(loading, "kinds", kinds)
    return FakeEngine.kind


def test_a_pod_killed_under_load_is_tried_again(kube: Any, fake_engine: str) -> None:
    """SIGKILL without a word of memory says nothing about the configuration."""
    content = {
        "name": "killed",
        "model": "fake",
        "engine": {"kind": fake_engine},
        "deploy": {"kind": "kubernetes", **kube.settings()},
        "parameters": {"parallel": [1]},
        "workload": calm_workload(requests=300),  # so long that the pod is killed in time
        "benchmark": CALM_BENCHMARK,
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 1},
        "confirm": {"repeats": 0},
    }
    with ThreadPoolExecutor(1) as pool:
        tuner = pool.submit(autotuner.tune, content)
        until_measuring("killed")
        kube.kill()
        result = tuner.result(120)
    killed, again = result.trials
    assert killed.failure is not None
    assert killed.failure.exit_code == -9
    assert killed.state is TrialState.VOID
    assert again.state is TrialState.DONE


def until_measuring(study: str) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        with Store.open() as store:
            phases = [e.phase for e in read(store, study) if isinstance(e, PhaseEntered)]
        if "measuring" in phases:
            return
        time.sleep(0.05)
    pytest.fail("nothing was measured")


@pytest.mark.campaign
def test_the_older_tools_task_of_ome_in_plain_pods(
    kube: Any, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file as for OME, on a cluster without it; what it has no place for is the site's."""
    site = {**kube.settings(model_roots=[str(models)]), "image": None}
    (tmp_path / "site.yaml").write_text(json.dumps({"deploy": {"kubernetes": site}}))
    monkeypatch.setenv("AUTOTUNER_SITE", str(tmp_path / "site.yaml"))
    task = {
        "task_name": "plain-pods",
        "model": {"id_or_path": MODEL, "namespace": "default"},
        "base_runtime": "llama-3-2-1b-instruct-rt",
        "parameters": {"tp_size": {"type": "choice", "values": [1]}, "mem_frac": [0.8, 0.85, 0.99]},
        "optimization": {"strategy": "grid_search", "objective": "minimize_latency", "max_iterations": 3},
        "benchmark": {
            "traffic_scenarios": ["D(100,100)"],
            "num_concurrency": [1, 4],
            "max_requests_per_iteration": 50,
            "additional_params": {"temperature": "0.0"},
        },
    }
    (tmp_path / "task.json").write_text(json.dumps(task))
    spec = autotuner.read_study(tmp_path / "task.json", mode="kubernetes").spec
    search = spec.search.model_copy(update={"parallel": 2})
    confirm = spec.confirm.model_copy(update={"repeats": 0})
    result = autotuner.tune(spec.model_copy(update={"search": search, "confirm": confirm}))
    states = [t.state for t in result.trials]
    assert states == [TrialState.DONE] * 3 + [TrialState.FAILED], [t.failure for t in result.trials]
    told = [t.argv[t.argv.index("--mem-fraction-static") + 1] for t in result.trials[1:3]]
    assert told == ["0.8", "0.85"]
    failure = result.trials[3].failure
    assert failure is not None
    assert failure.cause is FailureCause.GPU_OUT_OF_MEMORY_RUNNING
    assert kube.left() == []
